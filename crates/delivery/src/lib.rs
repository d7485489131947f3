//! Delivery: a Git repository is fetched, a folder of it is built, and the objects are kept applied.
//!
//! A stage crate. Pure: [`tree`], [`build`], [`order`], [`inventory`], [`health`]. The shell comes with `controller.rs`.

pub mod build;
pub mod health;
pub mod inventory;
pub mod order;
pub mod scope;
pub mod tree;
