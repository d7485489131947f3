//! What the real cosign wrote, of keys of each kind, without a log.

use super::*;

#[test]
fn what_cosign_3_writes_is_accepted() {
    let records: Vec<Value> =
        include_str!("cosign.jsonl").lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let trust = |record: &Value| {
        Trust::Keys(PublicKey::from_pem(record["key"].as_str().expect("a key").as_bytes()).expect("a key"))
    };
    for (place, record) in records.iter().enumerate() {
        let text = |pointer: &str| record.pointer(pointer).and_then(Value::as_str).expect(pointer);
        let annotations = serde_json::from_value(record["simple"]["annotations"].clone()).expect("annotations");
        let simple = || Proof::simple(text("/simple/payload").as_bytes(), &annotations);
        let bundle = || Proof::bundle(text("/bundle/content").as_bytes());
        let (name, ours, others) = (text("/name"), trust(record), trust(&records[(place + 1) % records.len()]));
        assert_eq!(checked(&ours, simple(), text("/simple/digest")), Ok(()), "{name}");
        assert_eq!(checked(&ours, bundle(), text("/bundle/digest")), Ok(()), "{name}");
        let told = format!("the signature is about {}", text("/bundle/digest"));
        assert_eq!(checked(&ours, bundle(), text("/simple/digest")), Err(told), "{name}");
        let refused = Err("no trusted key has made the signature".to_owned());
        assert_eq!(checked(&others, simple(), text("/simple/digest")), refused, "{name}");
        assert_eq!(checked(&others, bundle(), text("/bundle/digest")), refused, "{name}");
        let changed = text("/simple/payload").replace("127.0.0.1", "127.0.0.2");
        assert_eq!(checked(&ours, Proof::simple(changed.as_bytes(), &annotations), text("/simple/digest")), refused);
    }
}
