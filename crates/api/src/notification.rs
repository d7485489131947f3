//! `notification.toolkit.fluxcd.io`: Provider and Alert (`v1beta3`), Receiver (`v1`).
//!
//! Source: reference delivery.md section 3 and image-automation.md section 9.

mod alert;
mod provider;
mod receiver;

pub use self::{alert::*, provider::*, receiver::*};

/// Whether a switch is off and need not be written.
fn is_false(switch: &bool) -> bool {
    !switch
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::manifest::typed;

    #[test]
    fn defaults_are_those_of_the_original() {
        let provider: Provider =
            typed(&json!({"apiVersion": "notification.toolkit.fluxcd.io/v1beta3", "kind": "Provider",
            "metadata": {"name": "chat"}, "spec": {"type": "slack", "unknown": 1}}))
            .expect("the manifest is good");
        assert_eq!(provider.spec.timeout(), std::time::Duration::from_secs(15));
        assert!(!provider.spec.suspend);
        let alert: Alert = typed(&json!({"metadata": {"name": "all"}, "spec": {"providerRef": {"name": "chat"},
            "eventSources": [{"kind": "Canary", "name": "*"}]}}))
        .expect("the manifest is good");
        assert_eq!(alert.spec.event_severity, AlertSeverity::Info);
        let receiver: Receiver = typed(&json!({"metadata": {"name": "hook"}, "spec": {"type": "generic-hmac",
            "secretRef": {"name": "t"}, "resources": [{"kind": "ImageRepository", "name": "app"}]}}))
        .expect("the manifest is good");
        assert_eq!(receiver.spec.interval().as_secs(), 600);
        assert_eq!(receiver.spec.resources[0].api_version(), Some("image.toolkit.fluxcd.io/v1"));
    }

    #[test]
    fn errors_name_the_field() {
        let error = typed::<Alert>(&json!({"metadata": {"name": "a"}, "spec": {"providerRef": {"name": "p"},
            "eventSeverity": "loud", "eventSources": []}}))
        .expect_err("loud is no severity");
        assert!(error.starts_with("spec.eventSeverity: "), "{error}");
    }
}
