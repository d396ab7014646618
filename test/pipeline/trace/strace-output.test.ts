import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createStraceParser, type FileEvent, splitCall } from '../../../src/pipeline/trace/strace-output.ts'

function parse(text: string, cwd = '/repo'): FileEvent[] {
  const parser = createStraceParser(cwd)
  return text
    .split('\n')
    .filter(Boolean)
    .flatMap((line) => parser.take(line))
}

const read = (path: string, real = path): FileEvent => ({
  ...{ kind: 'open', path, real, reads: true, writes: false, fresh: false, creates: false },
})
const written = (path: string): FileEvent => ({
  ...{ kind: 'open', path, real: path, reads: false, writes: true, fresh: true, creates: true },
})

describe('one line of strace', () => {
  it.each<[string, FileEvent[]]>([
    ['openat(AT_FDCWD</repo>, "a b", O_RDONLY|O_CLOEXEC) = 3</repo/a b>', [read('/repo/a b')]],
    ['openat(AT_FDCWD, "a", O_RDONLY) = 3', [read('/repo/a')]],
    ['openat(4</repo/in>, "../a", O_RDONLY) = 3</repo/a>', [read('/repo/a')]],
    ['openat(4, "a", O_RDONLY) = 3', []],
    ['open("link", O_RDONLY) = 3</data/x>', [read('/repo/link', '/data/x')]],
    ['openat2(AT_FDCWD</repo>, "a", {flags=O_RDONLY|O_CLOEXEC, resolve=0}, 24) = 3</repo/a>', [read('/repo/a')]],
    ['openat(AT_FDCWD</repo>, "a", O_WRONLY|O_CREAT|O_TRUNC, 0666) = 3</repo/a>', [written('/repo/a')]],
    ['creat("a", 0644) = 3</repo/a>', [written('/repo/a')]],
    ['openat(AT_FDCWD</repo>, "a", O_RDONLY) = -1 ENOENT (No such file or directory)', []],
    ['openat(AT_FDCWD</repo>, "a", O_RDONLY) = ?', []],
    ['openat(AT_FDCWD</repo>, "a", O_RDONLY) = ? ERESTARTSYS (To be restarted if SA_RESTART is set)', []],
    ['openat(AT_FDCWD</repo>, "in", O_RDONLY|O_NONBLOCK|O_CLOEXEC|O_DIRECTORY) = 3</repo/in>', []],
    ['openat(AT_FDCWD</repo>, "in", O_RDONLY|O_PATH) = 3</repo/in>', []],
    [
      'openat(AT_FDCWD</repo>, "d r\\74x", O_RDONLY) = 3</repo/d r\\74x\\76/\\303\\244\\"b>',
      [read('/repo/d r<x', '/repo/d r<x>/ä"b')],
    ],
    ['openat(AT_FDCWD</repo>, "a, b) = 3", O_RDONLY) = 3</repo/a, b) = 3>', [read('/repo/a, b) = 3')]],
    ['getdents64(3</repo/in>, 0x55b7 /* 5 entries */, 32768) = 136', [{ kind: 'list', path: '/repo/in' }]],
    ['execve("./run.sh", ["./run.sh", "a)", "b\\"c"], 0x7ff /* 20 vars */) = 0', [read('/repo/run.sh')]],
    ['execve("/bin/no", ["no"], 0x7ff /* 20 vars */) = -1 ENOENT (No such file or directory)', []],
    ['rename("a", "b") = 0', [{ kind: 'move', from: '/repo/a', to: '/repo/b' }]],
    [
      'renameat2(AT_FDCWD</repo>, "a", 5</repo/in>, "b", RENAME_NOREPLACE) = 0',
      [{ kind: 'move', from: '/repo/a', to: '/repo/in/b' }],
    ],
    ['renameat2(AT_FDCWD</repo>, "a", AT_FDCWD</repo>, "b", RENAME_EXCHANGE) = 0', [written('/repo/a'), written('/repo/b')]],
    ['unlink("a") = 0', [{ kind: 'remove', path: '/repo/a' }]],
    ['unlinkat(AT_FDCWD</repo>, "a", 0) = 0', [{ kind: 'remove', path: '/repo/a' }]],
    ['symlink("../x", "a") = 0', [written('/repo/a')]],
    ['symlinkat("../x", 4</repo/in>, "a") = 0', [written('/repo/in/a')]],
    ['linkat(AT_FDCWD</repo>, "a", AT_FDCWD</repo>, "b", 0) = 0', [read('/repo/a'), written('/repo/b')]],
    ['mkdir("in", 0777) = 0', [{ kind: 'make', path: '/repo/in' }]],
    ['mkdirat(AT_FDCWD</repo>, "in", 0777) = 0', [{ kind: 'make', path: '/repo/in' }]],
    ['--- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=2} ---', []],
    ['+++ superseded by execve in pid 8 +++', []],
    ['<... openat resumed>) = 3</repo/a>', []],
    ['openat(AT_FDCWD</repo>, "cut off', []],
    ['', []],
  ])('%s', (line, events) => expect(parse(`7 ${line}`)).toEqual(events))

  it('opened for both is read and written, and fresh where it is cut or new', () => {
    const flags = (text: string) => parse(`7 open("a", ${text}) = 3</repo/a>`)[0]
    expect(flags('O_RDWR')).toMatchObject({ reads: true, writes: true, fresh: false, creates: false })
    expect(flags('O_RDWR|O_CREAT, 0666')).toMatchObject({ reads: true, writes: true, fresh: false, creates: true })
    expect(flags('O_RDWR|O_CREAT|O_EXCL, 0666')).toMatchObject({ writes: true, fresh: true })
    expect(flags('O_WRONLY|O_APPEND')).toMatchObject({ reads: false, writes: true, fresh: false })
  })
})

describe('processes', () => {
  it('joins a call that others interrupt', () => {
    const text = `7 openat(AT_FDCWD</repo>, "a", O_RDONLY <unfinished ...>
8 openat(AT_FDCWD</repo>, "b", O_RDONLY <unfinished ...>
7 <... openat resumed>)             = 3</repo/a>
8 <... openat resumed>) = -1 ENOENT (No such file or directory)`
    expect(parse(text)).toEqual([read('/repo/a')])
  })

  it('follows folders from parent to child, also when the child speaks first', () => {
    const text = `7 execve("/bin/sh", ["sh"], 0x7 /* 9 vars */) = 0
7 chdir("in")                       = 0
7 clone(child_stack=NULL, flags=CLONE_CHILD_SETTID|SIGCHLD, child_tidptr=0x7f) = 8
7 vfork( <unfinished ...>
9 unlink("a")                       = 0
7 <... vfork resumed>)              = 9
8 chdir("..")                       = 0
8 unlink("b")                       = 0
7 unlink("c")                       = 0
9 fchdir(3</repo/other>)            = 0
9 unlink("d")                       = 0`
    expect(parse(text).slice(1)).toEqual(
      ['/repo/in/a', '/repo/b', '/repo/in/c', '/repo/other/d'].map((path) => ({ kind: 'remove', path })),
    )
  })

  it('lets threads share their folder', () => {
    const text = `7 clone3({flags=CLONE_VM|CLONE_FS|CLONE_THREAD, stack=0x7} => {parent_tid=[8]}, 88) = 8
8 chdir("/repo/in") = 0
7 unlink("a") = 0`
    expect(parse(text)).toEqual([{ kind: 'remove', path: '/repo/in/a' }])
  })

  it('knows when the first process has ended', () => {
    const parser = createStraceParser('/repo')
    const ended = ['7 vfork() = 8', '8 +++ exited with 0 +++', '7 +++ killed by SIGKILL +++'].map((line) => {
      parser.take(line)
      return parser.ended
    })
    expect(ended).toEqual([false, false, true])
  })

  it('reads what a real strace wrote of a Python pool', () => {
    const text = `18951 openat(AT_FDCWD</tmp/t/st>, "d r<x>/\\303\\244\\"b.txt", O_RDONLY|O_CLOEXEC) = 3</tmp/t/st/d r\\74x\\76/\\303\\244\\"b.txt>
18951 openat(AT_FDCWD</tmp/t/st>, "/dev/shm/sem.JPPCZH", O_RDWR|O_CREAT|O_EXCL, 0600) = 5</dev/shm/sem.JPPCZH>
18951 clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD, child_tidptr=0x7efc7abf9e50) = 18952
18951 clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD, child_tidptr=0x7efc7abf9e50) = 18953
18951 clone3({flags=CLONE_VM|CLONE_FS|CLONE_FILES|CLONE_SIGHAND|CLONE_THREAD, child_tid=0x7efc79c4c990, parent_tid=0x7efc79c4c990, exit_signal=0, stack=0x7efc7944c000, stack_size=0x7fff80, tls=0x7efc79c4c6c0} => {parent_tid=[18954]}, 88) = 18954
18953 chdir("/tmp/t/st/d r<x>" <unfinished ...>
18952 chdir("/tmp/t/st/d r<x>" <unfinished ...>
18953 <... chdir resumed>)              = 0
18953 openat(AT_FDCWD</tmp/t/st/d r\\74x\\76>, "o1", O_WRONLY|O_CREAT|O_TRUNC|O_CLOEXEC, 0666 <unfinished ...>
18952 <... chdir resumed>)              = 0
18953 <... openat resumed>)             = 4</tmp/t/st/d r\\74x\\76/o1>
18953 rename("o1", "p1" <unfinished ...>
18953 <... rename resumed>)             = 0
18952 unlink("p1")                      = 0
18953 +++ exited with 0 +++
18956 --- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED, si_pid=18953, si_uid=0, si_status=0, si_utime=0, si_stime=0} ---
18951 getdents64(12</tmp/t/st/d r\\74x\\76>, 0x55b7c0a291b0 /* 3 entries */, 32768) = 80`
    expect(parse(text, '/tmp/t/st')).toEqual([
      read('/tmp/t/st/d r<x>/ä"b.txt'),
      { ...written('/dev/shm/sem.JPPCZH'), reads: true },
      written('/tmp/t/st/d r<x>/o1'),
      { kind: 'move', from: '/tmp/t/st/d r<x>/o1', to: '/tmp/t/st/d r<x>/p1' },
      { kind: 'remove', path: '/tmp/t/st/d r<x>/p1' },
      { kind: 'list', path: '/tmp/t/st/d r<x>' },
    ])
  })
})

/** As strace writes a name: printable ASCII but quotes and backslashes, all other bytes in octal. */
function escaped(text: string, marks = '"\\'): string {
  return [...Buffer.from(text)]
    .map((byte) => {
      const char = String.fromCharCode(byte)
      if (byte < 32 || byte > 126 || marks.includes(char)) return `\\${byte.toString(8).padStart(3, '0')}`
      return char
    })
    .join('')
}

const names = fc
  .string({ unit: 'binary', minLength: 1, maxLength: 12 })
  .filter((name) => !/[/\0]/.test(name) && !/^\.\.?$/.test(name))
const whole = names.filter((name) => Buffer.from(name).toString() === name)

describe('whatever strace writes', () => {
  it('gives back every name as it was, wherever the line was cut', () => {
    fc.assert(
      fc.property(whole, whole, fc.nat(), (folder, name, at) => {
        const path = `/repo/${folder}/${name}`
        const line = `openat(AT_FDCWD<${escaped(`/repo/${folder}`, '"\\<>')}>, "${escaped(name)}", O_RDONLY) = 3<${escaped(path, '"\\<>')}>`
        expect(parse(`7 ${line}`, '/')).toEqual([read(path)])
        const cut = 'openat('.length + (at % (line.lastIndexOf(')') - 'openat('.length + 1))
        const two = `7 ${line.slice(0, cut)} <unfinished ...>\n8 unlink("/x") = 0\n7 <... openat resumed>${line.slice(cut)}`
        expect(parse(two, '/')[1]).toEqual(read(path))
      }),
    )
  })

  it('never fails, and says nothing of lines that are none of its own', () => {
    const pieces = fc.constantFrom(
      '"',
      '<',
      '>',
      '(',
      ')',
      '\\',
      ', ',
      ' = ',
      '3',
      'openat',
      ' <unfinished ...>',
      '<... ',
      ' resumed>',
      '7 ',
      '+++ ',
      '{',
      ']',
      'é',
    )
    fc.assert(
      fc.property(fc.array(fc.oneof(pieces, fc.string({ maxLength: 4 })), { maxLength: 30 }), (parts) => {
        const text = parts.join('')
        splitCall(text)
        const parser = createStraceParser('/repo')
        for (const line of [`7 ${text}`, text, `7 openat(${text}`, `7 <... openat resumed>${text}`]) parser.take(line)
      }),
    )
  })
})
