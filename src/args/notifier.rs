//! The chat for Canaries without alerts of their own, as typed. The names are Flagger's.

use api::flagger::AlertProviderSpec;
use canary::controller::Notifier;

/// Slack or Microsoft Teams; Teams if both are given.
#[derive(Debug, clap::Args)]
pub struct Chat {
    /// Slack webhook that receives the alerts of Canaries without alerts of their own.
    #[arg(long, value_name = "URL", env = "SLACK_URL", hide_env_values = true)]
    slack_url: Option<String>,
    /// Slack bot token, for the URL of Slack's API.
    #[arg(long, value_name = "TOKEN", env = "SLACK_TOKEN", hide_env_values = true)]
    slack_token: Option<String>,
    /// Proxy for Slack.
    #[arg(long, value_name = "URL", env = "SLACK_PROXY_URL")]
    slack_proxy_url: Option<String>,
    /// User name of the messages in Slack.
    #[arg(long, value_name = "NAME", default_value = "flagger", env = "SLACK_USER")]
    slack_user: String,
    /// Slack channel.
    #[arg(long, value_name = "NAME", default_value = "", env = "SLACK_CHANNEL")]
    slack_channel: String,
    /// Microsoft Teams webhook that receives the alerts of Canaries without alerts of their own.
    #[arg(long, value_name = "URL", env = "MSTEAMS_URL", hide_env_values = true)]
    msteams_url: Option<String>,
    /// Proxy for Microsoft Teams.
    #[arg(long, value_name = "URL", env = "MSTEAMS_PROXY_URL")]
    msteams_proxy_url: Option<String>,
}

impl Chat {
    /// The chat that is meant, if any.
    pub fn notifier(self) -> Option<Notifier> {
        let given = |url: Option<String>| url.filter(|url| !url.is_empty());
        let provider = |kind: &str, address: String, proxy: Option<String>| AlertProviderSpec {
            kind: kind.into(),
            address,
            proxy: proxy.unwrap_or_default(),
            ..AlertProviderSpec::default()
        };
        if let Some(address) = given(self.msteams_url) {
            let provider = provider("msteams", address, self.msteams_proxy_url);
            return Some(Notifier { provider, token: String::new() });
        }
        let provider = AlertProviderSpec {
            username: self.slack_user,
            channel: self.slack_channel,
            ..provider("slack", given(self.slack_url)?, self.slack_proxy_url)
        };
        Some(Notifier { provider, token: self.slack_token.unwrap_or_default() })
    }
}
