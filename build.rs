//! How the binary is linked.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=link/cold.ld");
    let given = |name: &str| std::env::var(name).unwrap_or_default();
    let target = ["ARCH", "OS", "ENV"].map(|part| given(&format!("CARGO_CFG_TARGET_{part}")));
    // Rust brings its own linker there; elsewhere it is the system's, which knows less.
    if target != ["x86_64", "linux", "gnu"] {
        return;
    }
    // Relocations take a bit instead of 24 bytes each: two megabytes that every start would read. glibc 2.36 and later.
    println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    // Functions that came out the same are kept once.
    println!("cargo::rustc-link-arg-bins=-Wl,--icf=all");
    // What is hardly ever called stands apart, so that it is not read in with what is. It takes seconds to link.
    if given("PROFILE") == "release" {
        println!("cargo::rustc-link-arg-bins=-T{}/link/cold.ld", given("CARGO_MANIFEST_DIR"));
    }
}
