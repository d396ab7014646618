import { posix } from 'node:path'

/** What a command did to files, successfully. Paths are absolute, as the command meant them; `real` is where an opened path led to. */
export type FileEvent =
  | {
      kind: 'open'
      path: string
      real: string
      reads: boolean
      writes: boolean
      /** what lay there before is gone, or there was nothing */
      fresh: boolean
      /** it may not have been there before */
      creates: boolean
    }
  /** a folder was listed */
  | { kind: 'list'; path: string }
  /** a folder was made */
  | { kind: 'make'; path: string }
  | { kind: 'move'; from: string; to: string }
  | { kind: 'remove'; path: string }

export interface StraceParser {
  /** Takes the next line, without its end. What is no line of strace's says nothing. */
  take(line: string): FileEvent[]
  /** whether the first process has ended */
  readonly ended: boolean
}

/** The calls that are parsed; strace passes over those that a machine does not have where `?` stands before them. */
export const TRACED_CALLS = [
  ...['open', 'openat', 'openat2', 'creat', 'truncate', 'execve', 'execveat', 'getdents', 'getdents64', 'chdir', 'fchdir'],
  ...['rename', 'renameat', 'renameat2', 'unlink', 'unlinkat', 'rmdir', 'link', 'linkat', 'symlink', 'symlinkat'],
  ...['mkdir', 'mkdirat', 'mknod', 'mknodat', 'fork', 'vfork', 'clone', 'clone3'],
]

interface Call {
  name: string
  words: string[]
  result: string
}

const OPENING = '([{'
const CLOSING = ')]}'

/** Where a text in quotes, or in the angle brackets behind a descriptor, ends. strace escapes the end mark within. */
function skipQuoted(text: string, from: number, end: string): number {
  for (let at = from; at < text.length; at++) {
    if (text[at] === '\\') at++
    else if (text[at] === end) return at
  }
  return text.length
}

/** Cuts `name(word, word) = result`. @returns undefined for anything else */
export function splitCall(text: string): Call | undefined {
  const open = text.indexOf('(')
  const name = text.slice(0, open)
  if (open < 1 || !/^\w+$/.test(name)) return undefined
  const words: string[] = []
  let depth = 0
  let start = open + 1
  for (let at = start; at < text.length; at++) {
    const char = text[at]!
    if (char === '"') at = skipQuoted(text, at + 1, '"')
    else if (char === '<' && /\w/.test(text[at - 1]!)) at = skipQuoted(text, at + 1, '>')
    else if (OPENING.includes(char)) depth++
    else if (CLOSING.includes(char) && --depth < 0) {
      words.push(text.slice(start, at).trim())
      const result = /^\s*= (.+)$/.exec(text.slice(at + 1))
      return result ? { name, words, result: result[1]! } : undefined
    } else if (char === ',' && depth === 0) {
      words.push(text.slice(start, at).trim())
      start = at + 1
    }
  }
  return undefined
}

const ESCAPES: Record<string, number> = { n: 10, t: 9, r: 13, v: 11, f: 12 }

/** The text of `\n`, `\"`, `\303\244` and `\xc3\xa4`, bytes taken as UTF-8. */
function unescapeText(text: string): string {
  if (!text.includes('\\')) return text
  const parts: Buffer[] = []
  for (const [piece] of text.matchAll(/\\(?:[0-7]{1,3}|x[0-9a-f]{2}|[\s\S])|[^\\]+/g)) {
    if (piece[0] !== '\\') parts.push(Buffer.from(piece, 'latin1'))
    else if (/[0-7]/.test(piece[1]!)) parts.push(Buffer.of(Number.parseInt(piece.slice(1), 8)))
    else if (piece.length === 4) parts.push(Buffer.of(Number.parseInt(piece.slice(2), 16)))
    else parts.push(Buffer.of(ESCAPES[piece[1]!] ?? piece.charCodeAt(1)))
  }
  return Buffer.concat(parts).toString('utf8')
}

/** The path in quotes; undefined for an address or NULL. */
function quoted(word: string | undefined): string | undefined {
  if (word?.[0] !== '"') return undefined
  return unescapeText(word.slice(1, skipQuoted(word, 1, '"')))
}

/** The path that strace puts behind a descriptor, `3</tmp/a>`; undefined for pipes, sockets and strace that does not tell. */
function behind(word: string | undefined): string | undefined {
  const open = word?.indexOf('<') ?? -1
  if (open < 0) return undefined
  const path = unescapeText(word!.slice(open + 1, skipQuoted(word!, open + 1, '>'))).replace(/ \(deleted\)$/, '')
  return path[0] === '/' ? path : undefined
}

interface Process {
  /** shared by threads; undefined while nobody knows it */
  folder: { path: string | undefined }
}

/** Reads what `strace -f -y -o FILE` writes, line by line. @param cwd where the first process starts, absolute */
export function createStraceParser(cwd: string): StraceParser {
  const processes = new Map<string, Process>()
  /** calls that have begun and not ended, by process */
  const begun = new Map<string, string>()
  let first: string | undefined
  let ended = false

  /** A child may speak before the call that made it returns: then it is one of those whose call is under way. */
  function processOf(pid: string): Process {
    const known = processes.get(pid)
    if (known) return known
    const making = [...begun].filter(([, text]) => /^(?:clone3?|v?fork)\(/.test(text)).at(-1)
    const parent = making && processes.get(making[0])
    const made: Process = { folder: parent ? { ...parent.folder } : { path: first === undefined ? cwd : undefined } }
    first ??= pid
    processes.set(pid, made)
    return made
  }

  /** An absolute path of what was written relative to a descriptor's folder, or to that of the process. */
  function locate(process: Process, path: string | undefined, folder?: string): string | undefined {
    if (path === undefined || path === '') return undefined
    if (folder?.startsWith('AT_FDCWD<')) process.folder.path = behind(folder)
    const base = folder === undefined || folder.startsWith('AT_FDCWD') ? process.folder.path : behind(folder)
    if (path[0] !== '/' && base === undefined) return undefined
    return posix.resolve(base ?? '/', path)
  }

  function opened(path: string | undefined, flags: string, result: string): FileEvent[] {
    if (path === undefined || /O_(PATH|DIRECTORY|TMPFILE)\b/.test(flags)) return []
    const update = flags.includes('O_RDWR')
    const writes = update || /O_(WRONLY|TRUNC|CREAT)\b/.test(flags)
    return [
      {
        kind: 'open',
        path,
        real: behind(result) ?? path,
        reads: update || !flags.includes('O_WRONLY'),
        writes,
        fresh: /O_(TRUNC|EXCL)\b/.test(flags),
        creates: flags.includes('O_CREAT'),
      },
    ]
  }

  const touch = (path: string | undefined, how: { reads: boolean; writes: boolean; fresh: boolean }): FileEvent[] =>
    path === undefined ? [] : [{ kind: 'open', path, real: path, creates: how.fresh, ...how }]
  const read = (path: string | undefined) => touch(path, { reads: true, writes: false, fresh: false })
  const write = (path: string | undefined, fresh = true) => touch(path, { reads: false, writes: true, fresh })

  function moved(from: string | undefined, to: string | undefined, flags = ''): FileEvent[] {
    if (flags.includes('RENAME_EXCHANGE')) return [...write(from), ...write(to)]
    if (from !== undefined && to !== undefined) return [{ kind: 'move', from, to }]
    return from === undefined ? write(to) : [{ kind: 'remove', path: from }]
  }

  function forked(process: Process, { words, result }: Call): void {
    const child = /^\d+/.exec(result)?.[0]
    if (child === undefined) return
    const shares = words.some((word) => word.includes('CLONE_FS'))
    const known = processes.get(child)
    if (!known) processes.set(child, { folder: shares ? process.folder : { ...process.folder } })
    else if (shares) known.folder = process.folder
    else known.folder.path ??= process.folder.path
  }

  function eventsOf(process: Process, call: Call): FileEvent[] {
    const { name, words, result } = call
    const [a, b, c, d, e] = words
    const at = (path: string | undefined, folder?: string) => locate(process, quoted(path), folder)
    const some = (path: string | undefined, make: (path: string) => FileEvent) => (path === undefined ? [] : [make(path)])
    switch (name) {
      case 'open':
        return opened(at(a), b ?? '', result)
      case 'openat':
      case 'openat2':
        return opened(at(b, a), c ?? '', result)
      case 'creat':
        return opened(at(a), 'O_WRONLY|O_CREAT|O_TRUNC', result)
      case 'truncate':
        return write(at(a), false)
      case 'execve':
        return read(at(a))
      case 'execveat':
        return read(at(b, a))
      case 'getdents':
      case 'getdents64':
        return some(behind(a), (path) => ({ kind: 'list', path }))
      case 'rename':
        return moved(at(a), at(b))
      case 'renameat':
      case 'renameat2':
        return moved(at(b, a), at(d, c), e)
      case 'unlink':
      case 'rmdir':
        return some(at(a), (path) => ({ kind: 'remove', path }))
      case 'unlinkat':
        return some(at(b, a), (path) => ({ kind: 'remove', path }))
      case 'link':
        return [...read(at(a)), ...write(at(b))]
      case 'linkat':
        return [...read(at(b, a)), ...write(at(d, c))]
      case 'symlink':
        return write(at(b))
      case 'symlinkat':
        return write(at(c, b))
      case 'mkdir':
        return some(at(a), (path) => ({ kind: 'make', path }))
      case 'mkdirat':
        return some(at(b, a), (path) => ({ kind: 'make', path }))
      case 'mknod':
        return write(at(a))
      case 'mknodat':
        return write(at(b, a))
      case 'chdir':
        process.folder.path = at(a) ?? process.folder.path
        return []
      case 'fchdir':
        process.folder.path = behind(a) ?? process.folder.path
        return []
      case 'fork':
      case 'vfork':
      case 'clone':
      case 'clone3':
        forked(process, call)
        return []
      default:
        return []
    }
  }

  return {
    get ended() {
      return ended
    },
    take(line) {
      const parts = /^(\d+) +(.+)$/.exec(line)
      if (!parts) return []
      const [, pid, text] = parts as unknown as [string, string, string]
      const process = processOf(pid)
      if (text.startsWith('+++ ')) {
        // A process whose thread called execve goes on under the number of the first thread.
        if (/^\+\+\+ (exited|killed)/.test(text)) {
          if (pid === first) ended = true
          processes.delete(pid)
          begun.delete(pid)
        }
        return []
      }
      if (text.startsWith('--- ')) return []
      const unfinished = text.indexOf(' <unfinished ...>')
      if (unfinished >= 0 && unfinished === text.length - 17) {
        begun.set(pid, text.slice(0, unfinished))
        return []
      }
      const resumed = /^<\.\.\. (\w+) resumed>(.*)$/.exec(text)
      let whole = text
      if (resumed) {
        const start = begun.get(pid)
        begun.delete(pid)
        if (!start?.startsWith(`${resumed[1]}(`)) return []
        whole = start + resumed[2]
      }
      const call = splitCall(whole)
      // "?" stands for a call that never returned.
      if (!call || /^(-|\?)/.test(call.result)) return []
      return eventsOf(process, call)
    },
  }
}
