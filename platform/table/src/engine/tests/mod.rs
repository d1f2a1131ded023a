//! Tests of the engine as a state machine: against the model, over crashes, faults and damage.

mod crash;
mod damage;
mod faults;
mod index;
mod model;
mod plans;
mod world;
