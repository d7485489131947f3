//! What is remembered of a server between two runs: the connection and what it offers. Saves the first of two requests.

use std::sync::{Arc, Mutex, PoisonError};

use crate::{
    Credentials, Error, Remote,
    connection::{Clients, Connection},
    github::Tokens,
    listing::Offer,
    remote::redact,
};

/// A server, and what it offered when it was last asked.
pub(crate) struct Session {
    /// The way there.
    pub connection: Arc<Connection>,
    fetching: Mutex<Option<Arc<Offer>>>,
    pushing: Mutex<Option<Arc<Offer>>>,
}

impl Session {
    /// What the server offers to those who fetch, if known.
    pub fn fetching(&self) -> Option<Arc<Offer>> {
        self.fetching.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Remembers what the server offers to those who fetch.
    pub fn remember_fetching(&self, offer: Option<Arc<Offer>>) {
        *self.fetching.lock().unwrap_or_else(PoisonError::into_inner) = offer;
    }

    /// What the server offers to those who push, if known.
    pub fn pushing(&self) -> Option<Arc<Offer>> {
        self.pushing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Remembers what the server offers to those who push.
    pub fn remember_pushing(&self, offer: Option<Arc<Offer>>) {
        *self.pushing.lock().unwrap_or_else(PoisonError::into_inner) = offer;
    }
}

/// The sessions of a process.
#[derive(Default)]
pub(crate) struct Sessions {
    clients: Clients,
    tokens: Tokens,
    known: Mutex<Vec<(Remote, Arc<Session>)>>,
}

impl Sessions {
    /// So many remotes are remembered; beyond, the oldest is asked again. Tokens that change make new remotes.
    const LIMIT: usize = 256;

    /// The remote with a login that its server takes.
    pub fn login(&self, remote: &Remote, now: jiff::Timestamp) -> Result<Remote, Error> {
        let Credentials::GithubApp(app) = &remote.credentials else { return Ok(remote.clone()) };
        let client = self.clients.get(remote, &redact(&remote.url))?;
        let credentials = self.tokens.login(app, &client, remote.timeout, now)?;
        Ok(Remote { credentials, ..remote.clone() })
    }

    /// The session with `remote`.
    pub fn get(&self, remote: &Remote) -> Result<Arc<Session>, Error> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, session)) = known.iter().find(|(other, _)| other == remote) {
            return Ok(session.clone());
        }
        let connection = Connection::new(remote, &self.clients)?;
        let session = Arc::new(Session { connection, fetching: Mutex::new(None), pushing: Mutex::new(None) });
        if known.len() == Self::LIMIT {
            known.remove(0);
        }
        known.push((remote.clone(), session.clone()));
        Ok(session)
    }
}
