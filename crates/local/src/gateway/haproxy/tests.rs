use proptest::prelude::*;

use super::*;

fn server(port: u16, weight: u32) -> Server {
    Server { address: SocketAddr::from(([127, 0, 0, 1], port)), weight }
}

fn place(name: &str, port: u16, is_ready: bool, weight: u32) -> Place {
    let address = Some(SocketAddr::from(([127, 0, 0, 1], port)));
    Place { backend: "b".into(), name: name.into(), address, is_ready, weight }
}

fn pools(primary: Vec<Server>, canary: Vec<Server>) -> Wanted {
    let key = |prefix: &str| ("b".to_owned(), prefix.to_owned());
    BTreeMap::from([(key("p."), primary), (key("c."), canary)])
}

#[test]
fn shares_are_exact_where_whole_numbers_allow() {
    for (pools, expected) in [
        (vec![(90, 1), (10, 1)], vec![9, 1]),
        (vec![(67, 3), (33, 2)], vec![134, 99]),
        (vec![(100, 2), (0, 1)], vec![1, 0]),
        (vec![(50, 0), (50, 1)], vec![0, 1]),
        (vec![(99, 1), (1, 3)], vec![256, 1]),
        (vec![], vec![]),
    ] {
        assert_eq!(spread(&pools), expected, "{pools:?}");
    }
}

#[test]
fn servers_come_and_grow_before_others_shrink_and_go() {
    let places =
        [place("p.1", 1, true, 9), place("p.2", 2, true, 9), place("c.1", 1, false, 1), place("c.2", 9, false, 1)];
    let wanted = pools(vec![server(1, 1)], vec![server(5, 3)]);
    assert_eq!(
        commands(&wanted, &places),
        [
            "set server b/c.1 addr 127.0.0.1 port 5",
            "set server b/c.1 weight 3",
            "set server b/c.1 state ready",
            "set server b/p.1 weight 1",
            "set server b/p.2 state maint",
        ]
    );
}

#[test]
fn the_state_of_servers_is_read() {
    let answer = "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight\n\
        3 default:app:0 1 default_app_80.1 127.0.0.1 2 0 90 1 5 1 0 0 0 0 0 0 - 8080 - 0 0 - - 0\n\
        3 default:app:0 2 default_app_80.2 127.0.0.1 0 5 1 1 5 1 0 0 14 0 0 0 - 1 - 0 0 - - 0\n";
    let found = places(answer);
    assert_eq!(found.len(), 2);
    assert!(found[0].is_ready && found[0].weight == 90 && found[0].address.unwrap().port() == 8080);
    assert!(!found[1].is_ready && found[1].name == "default_app_80.2");
}

#[test]
fn words_cannot_end_their_quotes() {
    assert_eq!(quoted("a b\n'; x"), "'a b'\\''; x'");
}

proptest! {
    /// Whatever the places are, the commands lead to what is wanted, and then there are none left.
    #[test]
    fn commands_lead_to_what_is_wanted(
        primary in prop::collection::btree_map(1_u16..9, 0_u32..=256, 0..4),
        canary in prop::collection::btree_map(1_u16..9, 0_u32..=256, 0..4),
        live in prop::collection::vec((1_u16..9, any::<bool>(), 0_u32..=256), 16),
    ) {
        let servers = |pool: &BTreeMap<u16, u32>| pool.iter().map(|(&port, &weight)| server(port, weight)).collect();
        let wanted = pools(servers(&primary), servers(&canary));
        let mut places = Vec::new();
        for (index, (port, ready, weight)) in live.iter().enumerate() {
            let prefix = if index < 8 { "p." } else { "c." };
            // Two places of one pool never lead to the same pod.
            let taken = places.iter().any(|other: &Place| other.is_ready && other.name.starts_with(prefix) && other.address.unwrap().port() == *port);
            places.push(place(&format!("{prefix}{}", index % 8 + 1), *port, *ready && !taken, *weight));
        }
        let free = |prefix: &str| places.iter().filter(|place| place.name.starts_with(prefix) && !place.is_ready).count();
        prop_assume!(free("p.") >= 4 && free("c.") >= 4);
        for command in commands(&wanted, &places) {
            let words: Vec<&str> = command.split(' ').collect();
            let name = words[2].strip_prefix("b/").unwrap();
            let place = places.iter_mut().find(|place| place.name == name).unwrap();
            match words[3] {
                "addr" => place.address = format!("{}:{}", words[4], words[6]).parse().ok(),
                "weight" => place.weight = words[4].parse().unwrap(),
                _ => place.is_ready = words[4] == "ready",
            }
        }
        prop_assert_eq!(commands(&wanted, &places), Vec::<String>::new());
        let ready: usize = places.iter().filter(|place| place.is_ready).count();
        prop_assert_eq!(ready, primary.len() + canary.len());
    }
}
