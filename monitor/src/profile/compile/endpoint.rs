//! The endpoint catalogue.

use std::sync::Arc;

use super::{Compiler, Placed};
use crate::profile::doc::EndpointDoc;
use crate::profile::finding::Endpoint;
use crate::profile::model::EndpointRule;
use crate::profile::pattern::{parse_networks, parse_ports};

impl Compiler {
    pub(super) fn compile_endpoints(&mut self, parts: &[Placed<EndpointDoc>]) {
        for part in parts {
            let doc = &part.doc;
            let Ok(at) = u16::try_from(self.endpoints.all.len()) else {
                self.errors.push(part.place.error("there are more than 65,535 endpoints", "leave some out"));
                return;
            };
            if doc.addresses.value.is_empty() && doc.ports.value.is_empty() {
                self.errors.push(part.place.error(
                    format!(
                        "endpoint `{}` has neither `addresses` nor `ports`: it would be everything",
                        doc.id.value
                    ),
                    "say what its address is",
                ));
            }
            let place = part.at(doc.addresses.line, doc.addresses.column);
            let networks = self.take(&place, parse_networks(doc.addresses.value.iter()));
            let place = part.at(doc.ports.line, doc.ports.column);
            let ports = self.take(&place, parse_ports(doc.ports.value.iter()));
            self.endpoints.rules.push(EndpointRule { networks, ports });
            let id: Arc<str> = doc.id.value.as_str().into();
            self.endpoints.by_id.insert(id.clone(), at);
            self.endpoints.all.push(Arc::new(Endpoint {
                id,
                title: doc.title.as_str().into(),
                benign: doc.benign,
                respond: doc.respond.clone(),
                refs: doc.refs.clone(),
                rule: part.rule(),
            }));
        }
    }

    /// Endpoints of these ids.
    pub(super) fn endpoint_set(
        &mut self,
        place: &crate::profile::error::Place,
        ids: &[String],
    ) -> Box<[u16]> {
        let table = std::mem::take(&mut self.endpoints.by_id);
        let out = self.resolve(place, "endpoint", ids, &table);
        self.endpoints.by_id = table;
        out
    }
}
