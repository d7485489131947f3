//! How the binary is linked.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let target = |part: &str| std::env::var(format!("CARGO_CFG_TARGET_{part}")).unwrap_or_default();
    if target("OS") == "linux" && target("ENV") == "gnu" {
        // Relocations take a bit instead of 24 bytes each: two megabytes that every start would read. glibc 2.36 and later.
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
        // Functions that came out the same are kept once.
        println!("cargo::rustc-link-arg-bins=-Wl,--icf=all");
    }
}
