//! The cloud identity of a ServiceAccount: the cluster vouches for the account with a token, and the cloud exchanges it.
//!
//! Which identity is meant stands in annotations of the account. Source: Flux's "Workload Identity" pages and
//! `fluxcd/pkg/auth`; Amazon's "IAM roles for service accounts", Azure's "Workload identity federation", Google's
//! "Workload Identity Federation" with Kubernetes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ServiceAccount;
use serde_json::{Value, json};

use super::{Identities, KEPT, Request, aws, azure, form, google, keep, request, text};
use crate::Store;

/// Amazon's role, such as `arn:aws:iam::123456789012:role/reader`.
const ROLE: &str = "eks.amazonaws.com/role-arn";
/// Azure's application and directory.
const CLIENT: &str = "azure.workload.identity/client-id";
const TENANT: &str = "azure.workload.identity/tenant-id";
/// Google's account that is acted for, if it is not the federated identity itself.
const GOOGLE_ACCOUNT: &str = "iam.gke.io/gcp-service-account";
/// Google's provider for clusters that are not Google's own.
const GOOGLE_PROVIDER: &str = "gcp.auth.fluxcd.io/workload-identity-provider";
/// What Google's tokens are for.
const GOOGLE_SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// A ServiceAccount in whose name a cloud is asked.
#[derive(Clone, Debug)]
pub struct Account {
    store: Store,
    namespace: String,
    name: String,
    annotations: BTreeMap<String, String>,
}

impl Account {
    /// The account of that name. Errs where it is missing, or where nobody vouches for accounts.
    pub async fn find(store: &Store, namespace: &str, name: &str) -> Result<Self, String> {
        if matches!(store, Store::Directory(_)) {
            return Err("the identity of a service account needs a cluster, which issues its tokens; \
                        without one leave serviceAccountName out, and our own identity is used"
                .into());
        }
        let found = store.get::<ServiceAccount>(namespace, name).await.map_err(|error| error.to_string())?;
        let account = found.ok_or_else(|| format!("service account '{namespace}/{name}' not found"))?;
        let annotations = account.metadata.annotations.unwrap_or_default();
        Ok(Self { store: store.clone(), namespace: namespace.to_owned(), name: name.to_owned(), annotations })
    }

    /// What tells this identity from others, including what the annotations say.
    pub fn key(&self) -> String {
        let said = [ROLE, CLIENT, TENANT, GOOGLE_ACCOUNT, GOOGLE_PROVIDER].map(|name| self.said(name).unwrap_or("-"));
        format!("{}/{} {}", self.namespace, self.name, said.join(" "))
    }

    fn said(&self, annotation: &str) -> Option<&str> {
        self.annotations.get(annotation).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    fn must_say(&self, annotation: &str) -> Result<&str, String> {
        let Self { namespace, name, .. } = self;
        self.said(annotation)
            .ok_or_else(|| format!("service account '{namespace}/{name}' lacks annotation {annotation}"))
    }

    /// The cluster's token for the account.
    async fn token(&self, audience: &str) -> Result<String, String> {
        self.store.account_token(&self.namespace, &self.name, audience).await.map_err(|error| error.to_string())
    }
}

impl Identities {
    /// Amazon's keys of the role that the account may assume.
    pub async fn aws_of(&self, account: &Account, region: &str) -> Result<aws::Keys, String> {
        let ask = async {
            let role = account.must_say(ROLE)?;
            let token = account.token("sts.amazonaws.com").await?;
            let endpoint = self.aws_endpoint("STS");
            aws::role_keys(&self.ask(aws::ask_role(region, role, &token, endpoint.as_deref())?).await?)
        };
        keep(&self.aws, format!("{region} {}", account.key()), ask).await
    }

    /// Azure's token for `resource`, of the application that trusts the account.
    pub async fn azure_of(&self, account: &Account, resource: &str) -> Result<String, String> {
        let ask = async {
            let client = account.must_say(CLIENT)?.to_owned();
            let tenant = account.said(TENANT).map(str::to_owned).or_else(|| self.variable("AZURE_TENANT_ID"));
            let tenant = tenant.map_or_else(|| account.must_say(TENANT).map(str::to_owned), Ok)?;
            let assertion = account.token("api://AzureADTokenExchange").await?;
            let authority = self.variable("AZURE_AUTHORITY_HOST").unwrap_or_else(|| azure::AUTHORITY.to_owned());
            let workload = azure::Workload { authority, tenant, client, assertion };
            azure::token(&self.ask(azure::ask_workload(resource, &workload)?).await?)
        };
        keep(&self.tokens, format!("azure {resource} {}", account.key()), ask).await
    }

    /// Google's access token of the account, or of the one that it may act for, and for how many seconds it lasts.
    pub async fn google_of(&self, account: &Account) -> Result<(String, u64), String> {
        let ask = async {
            let (audience, federated) = match account.said(GOOGLE_PROVIDER) {
                Some(provider) => {
                    let audience = format!("//iam.googleapis.com/{provider}");
                    (audience.clone(), audience)
                }
                None => self.google_cluster().await?,
            };
            let token = account.token(&audience).await?;
            let endpoint = |variable, usual: &str| self.variable(variable).unwrap_or_else(|| usual.to_owned());
            let sts = endpoint("CLOUDSDK_API_ENDPOINT_OVERRIDES_STS", "https://sts.googleapis.com/");
            let answer = self.ask(exchange(&sts, &federated, &token)?).await?;
            let token = google::token(&answer)?;
            let Some(email) = account.said(GOOGLE_ACCOUNT) else { return Ok(token) };
            let iam = "CLOUDSDK_API_ENDPOINT_OVERRIDES_IAMCREDENTIALS";
            let iam = endpoint(iam, "https://iamcredentials.googleapis.com/");
            text(&self.ask(impersonate(&iam, email, &token)?).await?, "/accessToken").map(str::to_owned)
        };
        let token = keep(&self.tokens, format!("google {}", account.key()), ask).await?;
        // As long as it is kept here, whatever it lasts.
        Ok((token, KEPT.as_secs()))
    }

    /// On Google's own clusters: whom the token is for, and how the exchange calls the cluster.
    async fn google_cluster(&self) -> Result<(String, String), String> {
        let metadata = async |path: &str| {
            let host = self.variable("GCE_METADATA_HOST").unwrap_or_else(|| google::METADATA.to_owned());
            let builder = http::Request::get(format!("http://{host}/computeMetadata/v1/{path}"));
            let answer = self.send(request(builder.header("Metadata-Flavor", "Google"), "")?).await;
            answer.map(|text| text.trim().to_owned()).map_err(|error| {
                format!("outside of Google's clusters the account needs annotation {GOOGLE_PROVIDER} ({error})")
            })
        };
        let project = metadata("project/project-id").await?;
        let location = metadata("instance/attributes/cluster-location").await?;
        let cluster = metadata("instance/attributes/cluster-name").await?;
        let pool = format!("{project}.svc.id.goog");
        let path = format!("projects/{project}/locations/{location}/clusters/{cluster}");
        let federated = format!("identitynamespace:{pool}:https://container.googleapis.com/v1/{path}");
        Ok((pool, federated))
    }
}

/// Exchanges the cluster's token. Source: RFC 8693; Google's "Security Token Service API", `v1/token`.
fn exchange(endpoint: &str, audience: &str, token: &str) -> Result<Request, String> {
    let fields = form(&[
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("audience", audience),
        ("scope", GOOGLE_SCOPE),
        ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
        ("subject_token", token),
    ]);
    let address = format!("{}/v1/token", endpoint.trim_end_matches('/'));
    request(http::Request::post(address).header("Content-Type", "application/x-www-form-urlencoded"), fields)
}

/// Asks for a token of the account that is acted for. Source: Google's "IAM Service Account Credentials API",
/// `generateAccessToken`.
fn impersonate(endpoint: &str, email: &str, token: &str) -> Result<Request, String> {
    let account = form(&[("", email)]).trim_start_matches('=').to_owned();
    let base = endpoint.trim_end_matches('/');
    let address = format!("{base}/v1/projects/-/serviceAccounts/{account}:generateAccessToken");
    let builder = http::Request::post(address)
        .header("Content-Type", "application/json")
        .header("Authorization", format!("Bearer {token}"));
    let body: Value = json!({"scope": [GOOGLE_SCOPE], "lifetime": "3600s"});
    request(builder, body.to_string())
}
