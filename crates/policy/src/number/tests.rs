//! Which texts are numbers, and which is greater.

use proptest::prelude::*;

use super::*;

fn compare(one: &str, other: &str) -> Ordering {
    Number::parse(one).expect("a number").compare(&Number::parse(other).expect("a number"))
}

#[test]
fn the_forms_of_go_are_numbers() {
    for (text, value) in [
        ("1", 1.0),
        ("+1", 1.0),
        ("-1.5", -1.5),
        (".5", 0.5),
        ("5.", 5.0),
        ("1e3", 1000.0),
        ("1E-2", 0.01),
        ("007", 7.0),
        ("1_000", 1000.0),
        ("20240101_120000", 20_240_101_120_000.0),
        ("0x1p4", 16.0),
        ("0X1.8P1", 3.0),
        ("0x_1p4", 16.0),
        ("-0x1p-1", -0.5),
        ("0x1fffffffffffff8p0", 144_115_188_075_855_864.0),
        ("inf", f64::INFINITY),
        ("-Infinity", f64::NEG_INFINITY),
        ("1e-999", 0.0),
    ] {
        assert_eq!(Number::parse(text).expect(text).float, value, "{text}");
    }
    assert!(Number::parse("NaN").expect("a number").is_nan());
}

#[test]
fn other_forms_are_not() {
    for text in [
        "",
        "+",
        ".",
        "e5",
        "1e",
        "0x10",
        "0x",
        "0xp1",
        "_1",
        "1_",
        "1__0",
        "1_.5",
        "1_e5",
        "1e400",
        "+nan",
        "infi",
        " 1",
        "1 ",
        "v1",
        "1.2.3",
        "0x1p99999999999",
    ] {
        assert!(Number::parse(text).is_none(), "{text}");
    }
}

#[test]
fn long_integers_are_compared_exactly() {
    assert_eq!(compare("20240101120000001", "20240101120000002"), Ordering::Less);
    assert_eq!(compare("-20240101120000001", "-20240101120000002"), Ordering::Greater);
    assert_eq!(compare("09007199254740993", "9007199254740992.0"), Ordering::Greater);
    assert_eq!(compare("1", "1.0"), Ordering::Equal);
}

proptest! {
    #[test]
    fn parsing_never_panics(text in "[-+_0-9.eExXpPaf]{0,30}|\\PC{0,8}") {
        let _ = Number::parse(&text);
    }

    #[test]
    fn compare_is_an_order(texts in prop::array::uniform3("-?90071992547409[0-9]{1,3}(\\.0|e1)?|nan|-?[0-9]{1,2}")) {
        let [a, b, c] = texts.map(|text| Number::parse(&text).expect("a number"));
        prop_assert_eq!(a.compare(&b), b.compare(&a).reverse());
        if a.compare(&b).is_le() && b.compare(&c).is_le() {
            prop_assert!(a.compare(&c).is_le());
        }
    }
}
