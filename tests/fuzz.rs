//! The fuzz targets with made-up bytes, and that each of them can be run by `cargo fuzz`.

use std::{fs, path::Path};

use proptest::{prelude::*, test_runner::TestRunner};

#[path = "../fuzz/targets.rs"]
mod targets;

/// Bytes of the kinds that the readers know, and any others.
fn made_up() -> impl Strategy<Value = Vec<u8>> {
    let json = "[{}\\[\\]\":,.a-z0-9\n -]{0,120}";
    let words = prop::sample::select(vec![
        "{\"auths\": {\"registry.example.com:5000\": {\"auth\": \"YTpi\"}}}",
        "{\"tags\": [\"1.0.0\"]}",
        "{\"critical\": {\"image\": {}}}",
        "kind: A\nimage: a:1 # {\"$imagepolicy\": \"a:b\"}\n",
        "- x: \"1\" # {\"$imagepolicy\": \"a:b:tag\"}\n",
        "Bearer realm=\"https://a/t\",service=\"b\"",
        "</v2/a/tags/list?last=b>; rel=\"next\"",
        ">=1.2.3-0 <2 || ~1.x\n1.5.0-rc.1",
        "^1.2 - 3\n1.2.3",
        "YYYY.0M.MICRO\n2026.11.3",
        "^v(?P<a>[0-9]+)$\n$a\nv7",
    ]);
    let spliced = (words, any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 0..6));
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        json.prop_map(String::into_bytes),
        "\\PC{0,60}\n\\PC{0,60}".prop_map(String::into_bytes),
        // Something readable, with a few bytes put into it.
        spliced.prop_map(|(text, place, more)| {
            let mut bytes = text.as_bytes().to_vec();
            let place = place.index(bytes.len());
            bytes.splice(place..place, more);
            bytes
        }),
    ]
}

#[test]
fn no_bytes_break_a_reader() {
    for (name, target) in targets::TARGETS {
        let mut runner =
            TestRunner::new(ProptestConfig { cases: 400, failure_persistence: None, ..Default::default() });
        let outcome = runner.run(&made_up(), |bytes| {
            target(&bytes);
            Ok(())
        });
        assert!(outcome.is_ok(), "{name}: {outcome:?}");
    }
}

#[test]
fn every_target_is_wired_to_cargo_fuzz() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).expect("a manifest");
    let files = fs::read_dir(folder.join("fuzz_targets")).expect("targets").count();
    assert_eq!(files, targets::TARGETS.len());
    for (name, _) in targets::TARGETS {
        let text = fs::read_to_string(folder.join(format!("fuzz_targets/{name}.rs"))).expect(name);
        let line = format!("libfuzzer_sys::fuzz_target!(|data: &[u8]| slipway_fuzz::{name}(data));");
        assert_eq!(text, format!("#![no_main]\n{line}\n"));
        assert!(manifest.contains(&format!("name = \"{name}\"\npath = \"fuzz_targets/{name}.rs\"")), "{name}");
    }
}
