//! The demo: a whole market on one machine, over real HTTP and a real EVM.
//!
//! `world` starts it, `shop` is the seller's app, `steps` is what the agent does, `cheats` makes the payments
//! that must be refused, `report` prints.

mod cheats;
mod report;
mod shop;
mod steps;
mod world;

pub(crate) use steps::run_steps;
pub(crate) use world::{World, WorldPorts, describe};
