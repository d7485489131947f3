//! Addresses for pods: each gets one of 127.64.0.0/10 that no other pod of this machine has.

use std::{
    io,
    net::{Ipv4Addr, UdpSocket},
    sync::atomic::{AtomicU32, Ordering},
};

use crate::{Error, Result};

/// A port whose binding marks an address as taken, for other slipways on this machine too. The kernel frees it.
const MARK_PORT: u16 = 61_709;
/// Addresses in 127.64.0.0/10.
const COUNT: u32 = 1 << 22;
/// Addresses tried before giving up.
const ATTEMPTS: usize = 10_000;

/// Gives addresses away in turn.
#[derive(Debug)]
pub struct Addresses {
    next: AtomicU32,
}

/// Keeps an address taken.
#[derive(Debug)]
pub struct Lease {
    _mark: UdpSocket,
}

impl Addresses {
    /// Begins anywhere: an address that was just used by another run is not used again soon.
    pub fn new(start: u64) -> Self {
        Self { next: AtomicU32::new(u32::try_from(start % u64::from(COUNT)).unwrap_or_default()) }
    }

    /// An address that is free, and what keeps it taken.
    pub fn take(&self) -> Result<(Ipv4Addr, Lease)> {
        let mut last = io::Error::other("no address is free");
        for _ in 0..ATTEMPTS {
            let address = nth(self.next.fetch_add(1, Ordering::Relaxed));
            let Some(address) = address else { continue };
            match UdpSocket::bind((address, MARK_PORT)) {
                Ok(mark) => return Ok((address, Lease { _mark: mark })),
                Err(error) => last = error,
            }
        }
        Err(Error::Process { act: "take an address of 127.64.0.0/10".into(), source: last })
    }
}

/// The address of that number; none for those that end in 0 or 255, which look like networks and broadcasts.
fn nth(number: u32) -> Option<Ipv4Addr> {
    let address = Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 64, 0, 0)) + number % COUNT);
    (!matches!(address.octets()[3], 0 | 255)).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_inside_the_range_and_differ() {
        let addresses = Addresses::new(u64::MAX);
        let taken: Vec<_> = (0..300).map(|_| addresses.take().unwrap()).collect();
        let mut distinct: Vec<_> = taken.iter().map(|(address, _)| *address).collect();
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), 300);
        assert!(distinct.iter().all(|address| address.octets()[0] == 127 && (64..128).contains(&address.octets()[1])));
    }

    #[test]
    fn an_address_that_another_run_has_is_left_out() {
        let (address, _lease) = Addresses::new(7_000).take().unwrap();
        let (other, _other) = Addresses::new(7_000).take().unwrap();
        assert_ne!(address, other);
    }
}
