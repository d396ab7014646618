import { lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, symlinkSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'

/** What a file system keeps, apart from the names it has. */
interface Inode {
  kind: 'file' | 'folder' | 'link'
  /** absolute; its first name */
  path: string
  /** of a file before anything was written */
  bytes: Buffer
  /** of a folder before anything was renamed */
  names: Map<string, Inode>
  target: string
}

interface Timed {
  /** when the system call had returned */
  done: number
  /** when a later flush of the file or folder had returned; Infinity: never */
  safe: number
}

type Change =
  | { kind: 'bytes'; file: Inode; at: number; bytes: Buffer }
  | { kind: 'cut'; file: Inode; length: number }
  /** one step for the file system; durable once the folder of the new name, or of the deleted one, is flushed */
  | { kind: 'names'; edits: { folder: Inode; name: string; inode: Inode | undefined }[] }

export type Operation = Change & Timed

/** What may lie on the disk after a power loss: some operations have not reached it. */
export interface DiskState {
  what: string
  kept: readonly Operation[]
}

/** A tree of files in memory: what lay there at first, and what a process did to it. */
export interface Recording {
  operations: readonly Operation[]
  /** The files as they are once these operations are carried out, by path; links as `→ TARGET`, folders as null. */
  files(operations: readonly Operation[]): Map<string, Buffer | string | null>
}

/** System calls that change files, for `strace -e trace=`. */
export const TRACED =
  'openat,open,creat,write,pwrite64,writev,pwritev,rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,rmdir,fsync,fdatasync,ftruncate,symlink,symlinkat,copy_file_range,sendfile,ioctl'

function makeInode(kind: Inode['kind'], path: string, rest: Partial<Inode> = {}): Inode {
  return { kind, path, bytes: Buffer.alloc(0), names: new Map(), target: '', ...rest }
}

/** Reads a folder, to be what the recording starts from. */
export function readTree(path: string): Inode {
  const stats = lstatSync(path)
  if (stats.isSymbolicLink()) return makeInode('link', path, { target: readlinkSync(path) })
  if (!stats.isDirectory()) return makeInode('file', path, { bytes: readFileSync(path) })
  return makeInode('folder', path, { names: new Map(readdirSync(path).map((name) => [name, readTree(join(path, name))])) })
}

/** The content of files and folders after some operations. */
function carryOut(operations: readonly Operation[]): { bytes: Map<Inode, Buffer>; names: Map<Inode, Map<string, Inode>> } {
  const bytes = new Map<Inode, Buffer>()
  const names = new Map<Inode, Map<string, Inode>>()
  for (const operation of operations)
    if (operation.kind === 'names')
      for (const { folder, name, inode } of operation.edits) {
        const own = names.get(folder) ?? new Map(folder.names)
        if (inode) own.set(name, inode)
        else own.delete(name)
        names.set(folder, own)
      }
    else {
      const before = bytes.get(operation.file) ?? operation.file.bytes
      if (operation.kind === 'cut') bytes.set(operation.file, before.subarray(0, operation.length))
      else {
        const after = Buffer.alloc(Math.max(before.length, operation.at + operation.bytes.length))
        before.copy(after)
        operation.bytes.copy(after, operation.at)
        bytes.set(operation.file, after)
      }
    }
  return { bytes, names }
}

const unhex = (text: string) => Buffer.from(text.replaceAll('\\x', ''), 'hex')

interface Call {
  name: string
  args: string[]
  result: string
  started: number
  done: number
}

/** The calls of a trace in the order in which they returned. */
function* parseTrace(text: string): Generator<Call> {
  const open = new Map<string, { start: string; started: number }>()
  for (const [line, whole] of text.split('\n').entries()) {
    const [, process = '', said = ''] = /^(\d+) +(.*)$/.exec(whole) ?? []
    if (said.endsWith('<unfinished ...>')) {
      open.set(process, { start: said.slice(0, -'<unfinished ...>'.length).trimEnd(), started: line })
      continue
    }
    const resumed = /^<\.\.\. \w+ resumed>(.*)$/.exec(said)
    const begun = resumed ? open.get(process) : undefined
    const found = /^(\w+)\((.*)\) += (.*)$/.exec(begun ? begun.start + resumed![1] : said)
    if (!found) continue
    const [, name = '', args = '', result = ''] = found
    if (!result.startsWith('-1') && !result.startsWith('?'))
      yield { name, args: args.split(', '), result, started: begun?.started ?? line, done: line }
  }
}

/** The file that an operation writes to, by its first name, or the first name that it changes. */
export function pathOf(operation: Operation): string {
  if (operation.kind !== 'names') return operation.file.path
  const { folder, name } = operation.edits[0]!
  return join(folder.path, name)
}

/** Replays a trace (`strace -f -y -xx -s 100000000 -e trace=TRACED`) over what lay in `root` before, where the traced program was started in `cwd`.
 *  @param before readTree(root) before the program ran */
export function replay(trace: string, before: Inode, { root, cwd }: { root: string; cwd: string }): Recording {
  const operations: Operation[] = []
  let now = carryOut([])
  const sizes = new Map<Inode, number>()
  const namesOf = (folder: Inode) => now.names.get(folder) ?? folder.names

  function find(path: string): Inode | undefined {
    let at: Inode | undefined = before
    for (const name of path
      .slice(root.length + 1)
      .split('/')
      .filter(Boolean))
      at = at && namesOf(at).get(name)
    return at
  }
  const isOurs = (path: string) => path === root || path.startsWith(`${root}/`)

  function add(change: Change, done: number): void {
    const operation = { ...change, done, safe: Number.POSITIVE_INFINITY } as Operation
    operations.push(operation)
    if (operation.kind !== 'names') return
    for (const { folder, name, inode } of operation.edits) {
      const own = new Map(namesOf(folder))
      if (inode) own.set(name, inode)
      else own.delete(name)
      now.names.set(folder, own)
    }
  }

  function name(edits: [path: string, inode: Inode | undefined][], done: number): void {
    const known = edits
      .filter(([path]) => isOurs(path))
      .map(([path, inode]) => ({ folder: find(dirname(path))!, name: basename(path), inode }))
    if (known.length > 0) add({ kind: 'names', edits: known }, done)
  }

  function flush(inode: Inode, call: Call): void {
    for (const operation of operations) {
      if (operation.done >= call.started || operation.safe <= call.done) continue
      const isIt = operation.kind === 'names' ? operation.edits[0]!.folder === inode : operation.file === inode
      if (isIt) operation.safe = call.done
    }
  }

  function append(file: Inode, bytes: Buffer, done: number, at = sizes.get(file) ?? file.bytes.length): void {
    add({ kind: 'bytes', file, at, bytes: Buffer.from(bytes) }, done)
    sizes.set(file, Math.max(sizes.get(file) ?? file.bytes.length, at + bytes.length))
  }

  function cut(file: Inode, length: number, done: number): void {
    if ((sizes.get(file) ?? file.bytes.length) <= length) return
    add({ kind: 'cut', file, length }, done)
    sizes.set(file, length)
  }

  const literal = (arg = '') => unhex(/^"(.*)"$/.exec(arg)?.[1] ?? '')
  const handle = (arg = '') => unhex(/<([^>]*)>/.exec(arg)?.[1] ?? '').toString()
  const path = (arg = '', folder?: string) => resolve(folder === undefined ? cwd : handle(folder), literal(arg).toString())
  const contentOf = (file: Inode) =>
    carryOut(operations.filter((item) => item.kind !== 'names' && item.file === file)).bytes.get(file) ?? file.bytes

  function openFile(at: string, flags: string, done: number): void {
    if (!isOurs(at)) return
    const file = find(at)
    if (!file && /O_CREAT|^creat$/.test(flags)) name([[at, makeInode('file', at)]], done)
    else if (file && /O_TRUNC|^creat$/.test(flags)) cut(file, 0, done)
  }

  function take(call: Call): unknown {
    const { name: verb, args, result, done } = call
    const count = Number.parseInt(result, 10)
    const own = (arg?: string) => {
      const at = handle(arg)
      return isOurs(at) && !/\(deleted\)/.test(arg ?? '') ? find(at) : undefined
    }
    switch (verb) {
      case 'open':
        return openFile(path(args[0]), args[1] ?? '', done)
      case 'creat':
        return openFile(path(args[0]), 'creat', done)
      case 'openat':
        return openFile(path(args[1], args[0]), args[2] ?? '', done)
      case 'write':
      case 'writev':
      case 'pwrite64': {
        const file = own(args[0])
        if (file?.kind !== 'file') return
        const pieces = [
          ...args
            .slice(1)
            .join(', ')
            .matchAll(/"([^"]*)"(\.\.\.)?/g),
        ]
        if (pieces.some((piece) => piece[2])) throw new Error('the trace is cut: give strace a larger -s')
        const bytes = Buffer.concat(pieces.map((piece) => unhex(piece[1]!))).subarray(0, count)
        return append(file, bytes, done, verb === 'pwrite64' ? Number(args.at(-1)) : undefined)
      }
      case 'ftruncate': {
        const file = own(args[0])
        return file && cut(file, Number(args[1]), done)
      }
      case 'copy_file_range': {
        const [from, to] = [own(args[0]), own(args[2])]
        if (!from || !to) return
        const start = Number(/\d+/.exec(args[1] ?? '')?.[0] ?? sizes.get(to) ?? 0)
        return append(to, contentOf(from).subarray(start, start + count), done)
      }
      case 'sendfile': {
        const [to, from] = [own(args[0]), own(args[1])]
        const start = sizes.get(to!) ?? 0
        return to && from && append(to, contentOf(from).subarray(start, start + count), done)
      }
      case 'ioctl': {
        const [to, from] = [own(args[0]), own(args[2])]
        return to && from && /CLONE/.test(args[1] ?? '') ? append(to, contentOf(from), done, 0) : undefined
      }
      case 'rename':
      case 'renameat':
      case 'renameat2': {
        const [from, to] = verb === 'rename' ? [path(args[0]), path(args[1])] : [path(args[1], args[0]), path(args[3], args[2])]
        const moved = isOurs(from) ? find(from) : undefined
        if (isOurs(from) && !moved) throw new Error(`the trace renames ${from}, which nothing has made`)
        return name(
          [
            [to, moved],
            [from, undefined],
          ],
          done,
        )
      }
      case 'link':
        return name([[path(args[1]), isOurs(path(args[0])) ? find(path(args[0])) : undefined]], done)
      case 'linkat':
        return name([[path(args[3], args[2]), find(path(args[1], args[0]))]], done)
      case 'symlink':
        return name([[path(args[1]), makeInode('link', path(args[1]), { target: literal(args[0]).toString() })]], done)
      case 'symlinkat':
        return name(
          [[path(args[2], args[1]), makeInode('link', path(args[2], args[1]), { target: literal(args[0]).toString() })]],
          done,
        )
      case 'unlink':
      case 'rmdir':
        return name([[path(args[0]), undefined]], done)
      case 'unlinkat':
        return name([[path(args[1], args[0]), undefined]], done)
      case 'mkdir':
        return name([[path(args[0]), makeInode('folder', path(args[0]))]], done)
      case 'mkdirat':
        return name([[path(args[1], args[0]), makeInode('folder', path(args[1], args[0]))]], done)
      case 'fsync':
      case 'fdatasync': {
        const inode = own(args[0])
        return inode && flush(inode, call)
      }
      default:
    }
  }

  now = { bytes: new Map(), names: new Map() }
  for (const call of parseTrace(trace)) take(call)
  return {
    operations,
    files(kept) {
      const { bytes, names } = carryOut(kept)
      const found = new Map<string, Buffer | string | null>()
      const walk = (folder: Inode, above: string) => {
        for (const [own, inode] of names.get(folder) ?? folder.names) {
          const below = above === '' ? own : `${above}/${own}`
          if (inode.kind === 'folder') {
            found.set(below, null)
            walk(inode, below)
          } else found.set(below, inode.kind === 'link' ? `→ ${inode.target}` : (bytes.get(inode) ?? inode.bytes))
        }
      }
      walk(before, '')
      return found
    },
  }
}

/** Writes such files into an empty folder. */
export function materialise(files: ReadonlyMap<string, Buffer | string | null>, folder: string): void {
  for (const [path, content] of files) {
    const to = join(folder, path)
    if (content === null) mkdirSync(to, { recursive: true })
    else if (typeof content === 'string') symlinkSync(content.slice(2), to)
    else writeFileSync(to, content)
  }
}

/** A small generator of numbers from 0 to 1, the same in each run. */
function createRandom(seed: number): () => number {
  let state = seed
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

/** The states a power loss may leave, at each moment of a recording: of what was not flushed by then, every suffix is lost; the bytes of one file, or of all,
 *  are lost though its name is there; some operations are lost at random. Each state comes once. The last ones are those after the end. */
export function* statesAfterPowerLoss(operations: readonly Operation[]): Generator<DiskState> {
  const seen = new Set<string>()
  const random = createRandom(7)
  const numbers = new Map(operations.map((operation, i) => [operation, i]))
  const moments = [...new Set([-1, ...operations.flatMap(({ done, safe }) => [done, safe])])].sort((a, b) => a - b)
  function* give(what: string, kept: Operation[]): Generator<DiskState> {
    const key = kept.map((operation) => numbers.get(operation)).join()
    if (seen.has(key)) return
    seen.add(key)
    yield { what, kept }
  }
  for (const moment of moments) {
    const done = operations.filter((operation) => operation.done <= moment)
    const pending = done.filter((operation) => operation.safe > moment)
    const without = (lost: Set<Operation>) => done.filter((operation) => !lost.has(operation))
    for (let i = pending.length; i >= 0; i--)
      yield* give(`at ${moment}, ${pending.length - i} of ${pending.length} lost`, without(new Set(pending.slice(i))))
    const bytes = pending.filter((operation) => operation.kind !== 'names')
    yield* give(`at ${moment}, all bytes lost`, without(new Set(bytes)))
    for (const file of new Set(bytes.map((operation) => operation.file)))
      yield* give(
        `at ${moment}, the bytes of one file lost`,
        without(new Set(bytes.filter((operation) => operation.file === file))),
      )
    for (let i = 0; i < 2; i++) yield* give(`at ${moment}, some lost`, without(new Set(pending.filter(() => random() < 0.5))))
  }
}
