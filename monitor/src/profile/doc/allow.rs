//! Allow items: what a role may do, by signal. Profiles write them below `expect`, exceptions one at a time.

use schemars::JsonSchema;
use serde::Deserialize;

use super::list::OneOrMany;
use super::value::{AccessName, At, ProcFile, ProcOf, Scope, Span, TrustName};
use crate::profile::finding::Tier;

/// What is allowed for one signal, and what everything else is.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, bound(deserialize = "A: Deserialize<'de>"))]
pub struct Section<A> {
    /// Alternatives.
    #[serde(default)]
    pub allow: Vec<At<A>>,
    /// What everything else is.
    #[serde(default, rename = "else")]
    pub otherwise: Option<Tier>,
}

/// Declares allow items: the keys of each, then those that every item has. (With serde's `flatten` unknown keys could not be
/// refused.)
macro_rules! allow_items {
    ($($(#[$meta:meta])* $name:ident $(by $program:ident)? {
        $($(#[$of_field:meta])* $field:ident: $type:ty,)*
    })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            $($(#[$of_field])* pub $field: $type,)*
            $(
                /// Only by this program: resolved or as given, never argv[0] alone.
                #[serde(default)]
                pub $program: OneOrMany<String>,
            )?
            /// Only this long after the role was taken.
            #[serde(default)]
            pub within: Option<Span>,
            /// Only where the site states this fact (`$name`), and not as false.
            #[serde(default, rename = "if")]
            pub condition: Option<At<String>>,
            /// Detections that this item silences.
            #[serde(default)]
            pub permits: At<OneOrMany<String>>,
            /// Why.
            #[serde(default)]
            pub why: Option<String>,
        }
    )*};
}

allow_items! {
    /// An exec that is allowed: all keys must hold.
    ExecAllow {
        /// Whatever it is. Stands alone and silences nothing.
        #[serde(default)]
        any: bool,
        /// The role the process takes by it.
        #[serde(default)]
        becomes: Option<At<String>>,
        /// A name of the program: resolved or as given, never argv[0] alone.
        #[serde(default)]
        program: OneOrMany<String>,
        /// The script, as in roles.
        #[serde(default)]
        script: OneOrMany<String>,
        /// The arguments.
        #[serde(default)]
        argv: Option<Vec<String>>,
        /// No argument (argv[0] not counted) may match one of these globs (`*` also crosses `/` here).
        #[serde(default)]
        argv_none: OneOrMany<String>,
        /// How the executable is trusted; `image` if not given.
        #[serde(default)]
        trust: Option<TrustName>,
    }

    /// An identity that is allowed: all keys must hold.
    IdentityAllow by program {
        /// Whichever it is. Silences nothing.
        #[serde(default)]
        any: bool,
        /// By id.
        #[serde(default)]
        id: At<OneOrMany<String>>,
        /// By class.
        #[serde(default)]
        class: At<OneOrMany<String>>,
        /// What for; `read` if not given.
        #[serde(default)]
        access: Option<AccessName>,
        /// Only below the folder its run began in (or beside it, with `@tmp` or `.tmp` added to the name).
        #[serde(default)]
        own: bool,
        /// With `program`: also one that the run itself may have put there (a tool cache, a virtual environment), as long as it
        /// is a named file on a disk and not in a folder that everybody can write.
        #[serde(default)]
        installed: bool,
        /// Only when the program runs this script, as in roles.
        #[serde(default)]
        script: OneOrMany<String>,
    }

    /// A connect that is allowed: all keys must hold.
    ConnectAllow by program {
        /// Protocol and port: `tcp:443`, `udp:53`, `any:53`, `tcp:8000-8100`. None means any.
        #[serde(default)]
        to: At<OneOrMany<String>>,
        /// Part of the address space; never holds an endpoint's address.
        #[serde(default)]
        scope: OneOrMany<Scope>,
        /// Addresses or networks, or a fact of the site as `$name`; never holds an endpoint's address.
        #[serde(default)]
        address: At<OneOrMany<String>>,
        /// Endpoints by id.
        #[serde(default)]
        endpoint: At<OneOrMany<String>>,
    }

    /// A unix socket that is allowed: all keys must hold.
    UnixAllow by program {
        /// Whichever it is. Silences nothing.
        #[serde(default)]
        any: bool,
        /// Path globs, or abstract names with a leading `@`.
        #[serde(default)]
        path: At<OneOrMany<String>>,
    }

    /// A watched file that is allowed: all keys must hold.
    FileAllow by program {
        /// Path globs.
        #[serde(default)]
        path: At<OneOrMany<String>>,
        /// A file of /proc/PID.
        #[serde(default)]
        proc: OneOrMany<ProcFile>,
        /// Whose /proc entry.
        #[serde(default)]
        of: OneOrMany<ProcOf>,
        /// Only below the folder its run began in (or beside it, with `@tmp` or `.tmp` added to the name).
        #[serde(default)]
        own: bool,
        /// What for; `read` if not given.
        #[serde(default)]
        access: Option<AccessName>,
    }

    /// An uncommon socket that is allowed.
    SocketAllow by program {
        /// Address family, as in detections.
        family: At<OneOrMany<String>>,
    }
}
