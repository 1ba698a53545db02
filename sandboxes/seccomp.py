"""The filter on system calls, assembled from policy.py and handed to the kernel.

A filter is a straight program of 8-byte instructions over the call's number and arguments. This one lets
everything pass but what the policy names: those answer EPERM (or ENOSYS), so a program sees an error that it
can handle, and one compiled for another machine's calls is killed.

Source: Linux, Documentation/userspace-api/seccomp_filter.rst, linux/bpf_common.h and linux/seccomp.h.
"""

import ctypes
import errno
import platform
import struct

import policy

_libc = ctypes.CDLL(None, use_errno=True)
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL = 0x7FFF0000, 0x80000000
_REFUSE = 0x00050000  # SECCOMP_RET_ERRNO; the low bits are the errno
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_X32 = 0x40000000  # x86_64 has a second set of numbers from here on


def assemble(*, shared_user=False, own_pid=None):
    """Returns the filter as bytes. It is stricter under the host's own user, and with a PID about signals.

    Raises OSError where the policy has no table of calls for this machine.
    """
    machine = platform.machine()
    if machine not in policy.MACHINES:
        known = ", ".join(policy.MACHINES)
        raise OSError(errno.ENOSYS, f"no table of system calls for {machine}; there are some for {known}")
    architecture, column = policy.MACHINES[machine]
    code = [_step(_LOAD, _ARCHITECTURE), _step(_JUMP_EQUAL, architecture, 1, 0), _step(_RETURN, _KILL)]
    code.append(_step(_LOAD, _NUMBER))
    if machine == "x86_64":
        code += [_step(_JUMP_AT_LEAST, _X32, 0, 1), _step(_RETURN, _KILL)]
    denied = [name for names in policy.DENIED.values() for name in names]
    for name in (*denied, *policy.CHANGES_BY_NAME) if shared_user else denied:
        code += _refuse(policy.SYSCALLS[name][column], errno.EPERM)
    for name in policy.ABSENT:
        code += _refuse(policy.SYSCALLS[name][column], errno.ENOSYS)
    rules = list(policy.DENIED_ARGUMENTS)
    if own_pid is not None:
        rules += [(name, 0, "other than", own_pid) for name in policy.SIGNALS]
    for name, argument, comparison, value in rules:
        code += _refuse_argument(policy.SYSCALLS[name][column], argument, comparison, value)
    code.append(_step(_RETURN, _ALLOW))
    return b"".join(code)


def _step(operation, value, if_true=0, if_false=0):
    return struct.pack("HBBI", operation, if_true, if_false, value)


def _refuse(number, error):
    if number is None:  # this machine has no such call
        return []
    return [_step(_JUMP_EQUAL, number, 0, 1), _step(_RETURN, _REFUSE | error)]


def _refuse_argument(number, argument, comparison, value):
    jump = _JUMP_ANY_BIT if comparison == "any bit of" else _JUMP_EQUAL
    to_refusal = (1, 0) if comparison == "other than" else (0, 1)
    return [
        _step(_JUMP_EQUAL, number, 0, 4),
        _step(_LOAD, _ARGUMENTS + 8 * argument),
        _step(jump, value, *to_refusal),
        _step(_RETURN, _REFUSE | errno.EPERM),
        _step(_LOAD, _NUMBER),
    ]


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))


def install(code):
    """Puts the filter over this process and all it starts, for good. Raises OSError.

    Needs no_new_privs set, or CAP_SYS_ADMIN.
    """
    program = _Program(len(code) // 8, code)
    if _libc.prctl(22, 2, ctypes.byref(program), 0, 0) != 0:  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
        raise OSError(ctypes.get_errno(), "the kernel takes no seccomp filter")
