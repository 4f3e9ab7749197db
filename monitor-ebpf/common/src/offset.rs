//! Which kernel structure fields the probes read. The probes declare a read-only global per line, the agent resolves each
//! from the running kernel's BTF before loading. There are no defaults: what BTF lacks is [`ABSENT`].

/// Value of an offset that the running kernel does not have.
pub const ABSENT: u32 = u32::MAX;

/// Who needs an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    /// Every program.
    Core,
    /// fork, exec, exit.
    Exec,
    /// Credentials and script before an exec.
    Bprm,
    /// cgroup upkeep.
    Cgroup,
    /// open.
    Open,
    /// io_uring opens.
    Uring,
    /// connect, send, socket.
    Net,
    /// unix sockets.
    Unix,
}

/// What is asked of BTF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Byte offset of a member path (`a.b.c`; anonymous members are descended) in a struct.
    Offset(&'static str, &'static str),
    /// Size in bytes of a struct or union.
    Size(&'static str),
    /// Value of an enumerator (enum name, enumerator).
    Enum(&'static str, &'static str),
    /// Index of a parameter in a BTF-typed tracepoint (`btf_trace_NAME` typedef), by parameter name; ABSENT if none.
    TracepointArg(&'static str, &'static str),
    /// Number of parameters of a BTF-typed tracepoint (`btf_trace_NAME` typedef), without the leading `void *__data`.
    /// For kernels whose BTF names no parameters (5.10 has the typedef, whose prototype is nameless, and no `__bpf_trace_NAME`).
    TracepointArgs(&'static str),
}

/// One line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetSpec {
    /// Name of the read-only global in the object.
    pub symbol: &'static str,
    /// What it is.
    pub ask: Ask,
    /// Who needs it.
    pub group: Group,
    /// The probes cope without it.
    pub optional: bool,
}

/// Calls `$callback! { SYMBOL, Ask, Group, optional; … }` with the whole table.
///
/// Used by the probes to declare the globals and below to build [`OFFSETS`].
#[macro_export]
macro_rules! for_each_offset {
    ($callback:ident) => {
        $callback! {
            ENUM_FUNC_LOOP, Enum("bpf_func_id", "BPF_FUNC_loop"), Core, true;
            OFF_TASK_TGID, Offset("task_struct", "tgid"), Core, false;
            OFF_TASK_PID, Offset("task_struct", "pid"), Core, false;
            OFF_TASK_GROUP_LEADER, Offset("task_struct", "group_leader"), Core, false;
            OFF_TASK_START_BOOTTIME, Offset("task_struct", "start_boottime"), Core, false;
            OFF_TASK_REAL_PARENT, Offset("task_struct", "real_parent"), Core, false;
            OFF_TASK_MM, Offset("task_struct", "mm"), Core, false;
            OFF_TASK_FS, Offset("task_struct", "fs"), Core, false;
            OFF_TASK_FILES, Offset("task_struct", "files"), Core, false;
            OFF_TASK_NSPROXY, Offset("task_struct", "nsproxy"), Core, false;
            OFF_TASK_CRED, Offset("task_struct", "cred"), Core, false;
            OFF_TASK_FLAGS, Offset("task_struct", "flags"), Core, false;
            OFF_TASK_CGROUPS, Offset("task_struct", "cgroups"), Core, false;
            OFF_MM_EXE_FILE, Offset("mm_struct", "exe_file"), Core, false;
            OFF_TASK_SIGNAL, Offset("task_struct", "signal"), Exec, false;
            OFF_TASK_EXIT_CODE, Offset("task_struct", "exit_code"), Exec, false;
            OFF_SIGNAL_LIVE, Offset("signal_struct", "live"), Exec, false;
            OFF_SIGNAL_FLAGS, Offset("signal_struct", "flags"), Exec, false;
            OFF_SIGNAL_GROUP_EXIT_CODE, Offset("signal_struct", "group_exit_code"), Exec, false;
            OFF_TASK_THREAD_PID, Offset("task_struct", "thread_pid"), Exec, false;
            OFF_PID_LEVEL, Offset("pid", "level"), Exec, false;
            SIZE_UPID, Size("upid"), Exec, false;
            OFF_CRED_UID, Offset("cred", "uid"), Core, false;
            OFF_CRED_GID, Offset("cred", "gid"), Core, false;
            OFF_CRED_EUID, Offset("cred", "euid"), Core, false;
            OFF_CRED_EGID, Offset("cred", "egid"), Core, false;
            OFF_CRED_USER_NS, Offset("cred", "user_ns"), Exec, true;
            OFF_USER_NS_INUM, Offset("user_namespace", "ns.inum"), Exec, true;
            OFF_NSPROXY_PID, Offset("nsproxy", "pid_ns_for_children"), Exec, true;
            OFF_PID_NS_INUM, Offset("pid_namespace", "ns.inum"), Exec, true;
            OFF_NSPROXY_NET, Offset("nsproxy", "net_ns"), Exec, true;
            OFF_NSPROXY_CGROUP, Offset("nsproxy", "cgroup_ns"), Exec, true;
            OFF_CGROUP_NS_INUM, Offset("cgroup_namespace", "ns.inum"), Exec, true;
            OFF_MM_ARG_START, Offset("mm_struct", "arg_start"), Exec, false;
            OFF_MM_ARG_END, Offset("mm_struct", "arg_end"), Exec, false;
            OFF_MM_ENV_START, Offset("mm_struct", "env_start"), Exec, false;
            OFF_MM_ENV_END, Offset("mm_struct", "env_end"), Exec, false;
            OFF_MM_AUXV, Offset("mm_struct", "saved_auxv"), Exec, true;
            OFF_INODE_UID, Offset("inode", "i_uid"), Exec, false;
            OFF_INODE_SIZE, Offset("inode", "i_size"), Exec, false;
            OFF_INODE_CTIME_SEC, Offset("inode", "i_ctime_sec"), Exec, true;
            OFF_INODE_CTIME_NSEC, Offset("inode", "i_ctime_nsec"), Exec, true;
            OFF_INODE_CTIME_6_6, Offset("inode", "__i_ctime"), Exec, true;
            OFF_INODE_CTIME, Offset("inode", "i_ctime"), Exec, true;
            OFF_BPRM_FILENAME, Offset("linux_binprm", "filename"), Exec, false;
            OFF_BPRM_INTERP, Offset("linux_binprm", "interp"), Exec, false;
            OFF_BPRM_ARGC, Offset("linux_binprm", "argc"), Exec, true;
            OFF_BPRM_FILE, Offset("linux_binprm", "file"), Bprm, false;
            OFF_CSS_SET_DFL, Offset("css_set", "dfl_cgrp"), Core, false;
            OFF_CGROUP_KN, Offset("cgroup", "kn"), Core, false;
            OFF_KN_ID, Offset("kernfs_node", "id"), Core, false;
            OFF_CGROUP_ROOT, Offset("cgroup", "root"), Cgroup, false;
            OFF_CGROUP_SELF_PARENT, Offset("cgroup", "self.parent"), Cgroup, false;
            OFF_CSS_CGROUP, Offset("cgroup_subsys_state", "cgroup"), Cgroup, false;
            OFF_SOCKET_SK, Offset("socket", "sk"), Net, false;
            OFF_SOCKET_FILE, Offset("socket", "file"), Net, true;
            OFF_SOCK_FAMILY, Offset("sock", "__sk_common.skc_family"), Net, false;
            OFF_SOCK_STATE, Offset("sock", "__sk_common.skc_state"), Net, false;
            OFF_SOCK_DADDR, Offset("sock", "__sk_common.skc_daddr"), Net, false;
            OFF_SOCK_DPORT, Offset("sock", "__sk_common.skc_dport"), Net, false;
            OFF_SOCK_V6_DADDR, Offset("sock", "__sk_common.skc_v6_daddr"), Net, true;
            OFF_SOCK_NET, Offset("sock", "__sk_common.skc_net.net"), Net, true;
            OFF_SOCK_PROTOCOL, Offset("sock", "sk_protocol"), Net, false;
            OFF_SOCK_TYPE, Offset("sock", "sk_type"), Net, false;
            OFF_SOCK_ERR, Offset("sock", "sk_err"), Net, false;
            OFF_NET_NS_INUM, Offset("net", "ns.inum"), Net, true;
            OFF_MSGHDR_NAME, Offset("msghdr", "msg_name"), Net, false;
            OFF_MSGHDR_NAMELEN, Offset("msghdr", "msg_namelen"), Net, false;
            OFF_MSGHDR_FLAGS, Offset("msghdr", "msg_flags"), Net, false;
            OFF_FILE_PRIVATE, Offset("file", "private_data"), Net, false;
            OFF_UNIX_ADDR, Offset("unix_sock", "addr"), Unix, false;
            OFF_UNIX_PATH_MNT, Offset("unix_sock", "path.mnt"), Unix, false;
            OFF_UNIX_PATH_DENTRY, Offset("unix_sock", "path.dentry"), Unix, false;
            OFF_UNIX_PEER, Offset("unix_sock", "peer"), Unix, false;
            OFF_UNIX_ADDR_LEN, Offset("unix_address", "len"), Unix, false;
            OFF_UNIX_ADDR_NAME, Offset("unix_address", "name"), Unix, false;
            OFF_FILE_PATH_MNT, Offset("file", "f_path.mnt"), Core, false;
            OFF_FILE_PATH_DENTRY, Offset("file", "f_path.dentry"), Core, false;
            OFF_FILE_INODE, Offset("file", "f_inode"), Core, false;
            OFF_PATH_MNT, Offset("path", "mnt"), Core, false;
            OFF_PATH_DENTRY, Offset("path", "dentry"), Core, false;
            OFF_DENTRY_PARENT, Offset("dentry", "d_parent"), Core, false;
            OFF_DENTRY_NAME, Offset("dentry", "d_name"), Core, false;
            OFF_DENTRY_INODE, Offset("dentry", "d_inode"), Core, false;
            OFF_DENTRY_HASH, Offset("dentry", "d_hash.pprev"), Core, false;
            OFF_QSTR_LEN, Offset("qstr", "len"), Core, false;
            OFF_QSTR_NAME, Offset("qstr", "name"), Core, false;
            OFF_VFSMOUNT_ROOT, Offset("vfsmount", "mnt_root"), Core, false;
            OFF_VFSMOUNT_SB, Offset("vfsmount", "mnt_sb"), Core, false;
            OFF_MOUNT_VFSMOUNT, Offset("mount", "mnt"), Core, false;
            OFF_MOUNT_PARENT, Offset("mount", "mnt_parent"), Core, false;
            OFF_MOUNT_MOUNTPOINT, Offset("mount", "mnt_mountpoint"), Core, false;
            OFF_MOUNT_NS, Offset("mount", "mnt_ns"), Core, false;
            OFF_MNT_NS_INUM, Offset("mnt_namespace", "ns.inum"), Core, false;
            OFF_NSPROXY_MNT, Offset("nsproxy", "mnt_ns"), Core, false;
            OFF_FS_ROOT, Offset("fs_struct", "root"), Core, false;
            OFF_FS_PWD, Offset("fs_struct", "pwd"), Core, false;
            OFF_FILES_FDT, Offset("files_struct", "fdt"), Core, false;
            OFF_FDT_MAX, Offset("fdtable", "max_fds"), Core, false;
            OFF_FDT_FD, Offset("fdtable", "fd"), Core, false;
            OFF_INODE_INO, Offset("inode", "i_ino"), Core, false;
            OFF_INODE_SB, Offset("inode", "i_sb"), Core, false;
            OFF_INODE_MODE, Offset("inode", "i_mode"), Core, false;
            OFF_INODE_NLINK, Offset("inode", "i_nlink"), Core, false;
            OFF_SB_DEV, Offset("super_block", "s_dev"), Core, false;
            OFF_SB_MAGIC, Offset("super_block", "s_magic"), Core, false;
            OFF_SB_FLAGS, Offset("super_block", "s_flags"), Core, false;
            OFF_INODE_GENERATION, Offset("inode", "i_generation"), Open, false;
            OFF_FILE_FLAGS, Offset("file", "f_flags"), Open, false;
            OFF_FILE_MODE, Offset("file", "f_mode"), Open, false;
            SIZE_BACKING_FILE, Size("backing_file"), Open, true;
            OFF_PROC_INODE_VFS, Offset("proc_inode", "vfs_inode"), Open, false;
            OFF_PROC_INODE_PID, Offset("proc_inode", "pid"), Open, false;
            OFF_PID_NUMBERS, Offset("pid", "numbers"), Open, false;
            OFF_UPID_NR, Offset("upid", "nr"), Open, false;
            ENUM_FUNC_TASK_PT_REGS, Enum("bpf_func_id", "BPF_FUNC_task_pt_regs"), Core, true;
            OFF_REGS_DI, Offset("pt_regs", "di"), Core, true;
            OFF_REGS_SI, Offset("pt_regs", "si"), Core, true;
            OFF_REGS_DX, Offset("pt_regs", "dx"), Core, true;
            OFF_REGS_ORIG_X0, Offset("pt_regs", "orig_x0"), Core, true;
            OFF_REGS_REGS, Offset("pt_regs", "regs"), Core, true;
            OFF_KIOCB_FILE, Offset("io_kiocb", "file"), Uring, false;
            OFF_KIOCB_OPCODE, Offset("io_kiocb", "opcode"), Uring, false;
            OFF_IO_OPEN_DFD, Offset("io_open", "dfd"), Uring, false;
            OFF_IO_OPEN_FILENAME, Offset("io_open", "filename"), Uring, false;
            OFF_IO_OPEN_FLAGS, Offset("io_open", "how.flags"), Uring, false;
            OFF_FILENAME_NAME, Offset("filename", "name"), Uring, false;
            ARGS_URING_SQE, TracepointArgs("io_uring_submit_sqe"), Uring, true;
        }
    };
}

macro_rules! table {
    ($($symbol:ident, $kind:ident($($arg:literal),*), $group:ident, $optional:literal;)*) => {
        /// The table.
        pub const OFFSETS: &[OffsetSpec] = &[$(OffsetSpec {
            symbol: stringify!($symbol), ask: Ask::$kind($($arg),*), group: Group::$group, optional: $optional,
        }),*];
    };
}
for_each_offset!(table);
