//! A data key that age itself encrypted, and values sealed with it as SOPS seals them.

use serde_json::json;

use super::*;

const KEY: &str = "AGE-SECRET-KEY-1XV8ZLWDDNMLSTLUCMCMPHJJRY4VP2L40F364R6QCZKGKUCNY8FSQUDVAXH";
const OTHER: &str = "AGE-SECRET-KEY-12TGYXGNC97C99UR9A0XVHK68SN9GCHXJ35NHSF3P0203866D4T9QWYRGQF";
const RECIPIENT: &str = "age1c2tx4dr5h5psdjqgz2k427cgykwe2weccdmpcun54ywlrr8gxgyqrxj62x";
/// The bytes 0 to 31, for that recipient, by `age -a` 1.1.1.
const SEALED_KEY: &str = "-----BEGIN AGE ENCRYPTED FILE-----
YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IFgyNTUxOSBDeWZXVSt5NXcvWUd1MXds
VDkwbTZiYittSGQ0UHY5R2tpbXhIcm9mcmdnCmZWakVBSVgxUStXYzcrQVFHRU1D
a0hCVGx1L2Z5UFU4M013WGFOUXZxU2cKLS0tIDlRcmkxWmZwRUJRckF0K0JSbDd4
eWxhUElxN2grZ1lWajZWWkFLSlNJMWMKQY//8rVW+igU2Nt/e1iuPchpj6FSpRuT
f/PUwTzXgm/9jjlo0w3BYjnJyfIkPkhr+iAEjFEAQWkZpM+QOVTDKg==
-----END AGE ENCRYPTED FILE-----
";

fn keys(text: &str) -> Keys {
    let secret = [("age.agekey".to_owned(), format!("# a comment\n{text}\n").into_bytes())].into();
    Keys::new(&secret).unwrap()
}

fn seal(text: &str, kind: &str, path: &str) -> String {
    let key: Vec<u8> = (0..32).collect();
    let nonce = [7; 32];
    let cipher = AesGcm::<Aes256, U32>::new_from_slice(&key).unwrap();
    let sealed = cipher.encrypt(&nonce.into(), Payload { msg: text.as_bytes(), aad: path.as_bytes() }).unwrap();
    let (data, tag) = sealed.split_at(sealed.len() - 16);
    let encode = |bytes: &[u8]| BASE64_STANDARD.encode(bytes);
    format!("ENC[AES256_GCM,data:{},iv:{},tag:{},type:{kind}]", encode(data), encode(&nonce), encode(tag))
}

fn sops() -> Value {
    json!({"age": [{"recipient": RECIPIENT, "enc": SEALED_KEY}], "mac": "ENC[…]", "version": "3.13.3"})
}

fn secret() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "apps"},
        "stringData": {"password": seal("hunter2", "str", "stringData:password:"), "empty": ""},
        "list": [seal("1", "int", "list:"), seal("1.5", "float", "list:"), seal("True", "bool", "list:")],
        "sops": sops(),
    })
}

#[test]
fn encrypted_values_are_replaced_and_plain_ones_stay() {
    let plain = objects(vec![secret()], &keys(KEY)).unwrap();
    assert_eq!(
        plain[0],
        json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "apps"},
            "stringData": {"password": "hunter2", "empty": ""}, "list": [1, 1.5, true],
        })
    );
}

#[test]
fn a_wrong_key_and_a_changed_value_are_told() {
    let error = objects(vec![secret()], &keys(OTHER)).unwrap_err();
    assert!(error.starts_with("decryption failed for 'Secret/apps/s': no age identity"), "{error}");
    assert!(error.contains(RECIPIENT) && objects(vec![secret()], &Keys::default()).is_err());
    let mut moved = secret();
    moved["stringData"]["other"] = moved["stringData"]["password"].take();
    let error = objects(vec![moved], &keys(KEY)).unwrap_err();
    assert!(error.contains("stringData.other cannot be decrypted"), "{error}");
    let mut elsewhere = secret();
    elsewhere["sops"] = json!({"kms": [{"arn": "x"}], "age": []});
    assert!(objects(vec![elsewhere], &keys(KEY)).unwrap_err().contains("with kms, which is not supported"));
    let none = [("age.agekey".to_owned(), b"nothing".to_vec())].into();
    assert_eq!(Keys::new(&none).unwrap_err(), Error::Identity("age.agekey".into()));
}

#[test]
fn an_object_can_opt_out() {
    let mut object = secret();
    object["metadata"]["annotations"] = json!({OPT_OUT: "disabled"});
    assert_eq!(objects(vec![object.clone()], &Keys::default()), Ok(vec![object]));
}

#[test]
fn files_in_secrets_are_decrypted_in_the_form_that_their_name_tells() {
    let yaml = json!({"db": {"password": seal("hunter2", "str", "db:password:")}, "sops": sops()}).to_string();
    let binary = json!({"data": seal("any text", "str", "data:"), "sops": sops()}).to_string();
    let sealed_key = SEALED_KEY.replace('\n', "\\n");
    let env = format!(
        "A=plain\nB={}\nsops_age__list_0__map_enc={sealed_key}\nsops_version=3.13.3\n",
        seal("hunter2", "str", "B:")
    );
    let encode = |text: &str| BASE64_STANDARD.encode(text);
    let object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {
        "values.yaml": encode(&yaml), "values.json": encode(&yaml), "key.pem": encode(&binary), ".env": encode(&env),
        "plain": encode("sops and ENC[ in a text")}});
    let plain = objects(vec![object], &keys(KEY)).unwrap();
    let text = |name: &str| {
        String::from_utf8(BASE64_STANDARD.decode(plain[0]["data"][name].as_str().unwrap()).unwrap()).unwrap()
    };
    assert_eq!(api::manifest::parse(&text("values.yaml")).unwrap(), json!({"db": {"password": "hunter2"}}));
    assert_eq!(text("values.json"), r#"{"db":{"password":"hunter2"}}"#);
    assert_eq!(text("key.pem"), "any text");
    assert_eq!(text(".env"), "A=plain\nB=hunter2\n");
    assert_eq!(text("plain"), "sops and ENC[ in a text");
}
