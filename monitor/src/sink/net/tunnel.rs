//! TLS below the HTTP client: our own certificates and names, and none of the client's.

use std::fmt;
use std::io::{Read, Write};
use std::sync::Arc;

use rustls::{ClientConnection, StreamOwned};
use ureq::Error;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport, TransportAdapter,
};

use super::Tls;
use super::trouble::last_word;

/// Wraps a connection to an `https` address.
#[derive(Debug)]
pub(super) struct Tunnel(pub(super) Arc<Tls>);

impl<In: Transport> Connector<In> for Tunnel {
    type Out = Either<In, TunnelTransport>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        let Some(transport) = chained else { return Ok(None) };
        if !details.needs_tls() || transport.is_tls() {
            return Ok(Some(Either::A(transport)));
        }
        let client = self.0.client().map_err(other)?;
        let name = self.0.name_for(details.uri.host().unwrap_or_default()).map_err(other)?;
        let mut session = ClientConnection::new(client, name).map_err(other)?;
        let mut socket = TransportAdapter::new(transport.boxed(), Arc::clone(&details.current_time));
        socket.set_timeout(details.timeout);
        if let Err(error) = session.complete_io(&mut socket) {
            return Err(last_word(&mut session, &mut socket, error).into());
        }
        let buffers =
            LazyBuffers::new(details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Either::B(TunnelTransport { buffers, stream: StreamOwned::new(session, socket) })))
    }
}

fn other(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Other(Box::new(error))
}

/// A connection inside TLS.
pub(super) struct TunnelTransport {
    buffers: LazyBuffers,
    stream: StreamOwned<ClientConnection, TransportAdapter>,
}

impl Transport for TunnelTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.stream.get_mut().set_timeout(timeout);
        let output = self.buffers.output().get(..amount).unwrap_or_default();
        match self.stream.write_all(output) {
            Ok(()) => Ok(()),
            Err(error) => Err(last_word(&mut self.stream.conn, &mut self.stream.sock, error).into()),
        }
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.stream.get_mut().set_timeout(timeout);
        // What could not be written is tried again here, and says so here.
        let read = self.stream.read(self.buffers.input_append_buf());
        let amount = read.map_err(|error| last_word(&mut self.stream.conn, &mut self.stream.sock, error))?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.get_mut().get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}

impl fmt::Debug for TunnelTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TunnelTransport")
    }
}
