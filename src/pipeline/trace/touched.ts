import type { FileEvent } from './strace-output.ts'

/** What commands did to one path, all told. */
export interface Touched {
  /** relative to the project; '' is the project itself */
  path: string
  /** what lay there before was read */
  read: boolean
  /** what lies there now was written, or put there */
  written: boolean
  /** opened for both, so that only its times tell whether anything was written */
  updated: boolean
  /** what lay there before was removed */
  removed: boolean
  /** a folder whose names were read */
  listed: boolean
  /** a folder that was made */
  made: boolean
  /** other paths that led to it, through symbolic links */
  also: string[]
}

interface Node extends Omit<Touched, 'path'> {
  /** it may have been created when it was opened */
  created: boolean
  below: Map<string, Node>
}

const UNTOUCHED = {
  read: false,
  written: false,
  updated: false,
  removed: false,
  listed: false,
  made: false,
  created: false,
}

function newNode(): Node {
  return { ...UNTOUCHED, also: [], below: new Map() }
}

/** Whether a path is the commands' own: they wrote it, made it, or made something in it. */
function isOwn(node: Node): boolean {
  if (node.written || node.made || node.created) return true
  for (const child of node.below.values()) if (isOwn(child)) return true
  return false
}

/** What was read under an old name stays noted there. */
function forgetReads(node: Node): void {
  Object.assign(node, { read: false, removed: false, listed: false, also: [] })
  for (const child of node.below.values()) forgetReads(child)
}

export interface TouchedFiles {
  add(event: FileEvent): void
  /** every path that counts, folders before what lies in them */
  list(): Touched[]
}

/** Puts events together: a file that was written and renamed is there under its last name alone, one that was written and removed is not there at
 *  all, and what a command reads of its own is not read.
 *  @param inside a path relative to the project, or undefined where an absolute path is none of its files */
export function createTouched(inside: (path: string) => string | undefined): TouchedFiles {
  const root = newNode()
  const namesOf = (path: string) => (path === '' ? [] : path.split('/'))

  /** @returns the node, and whether it, or a folder above it, was put there by the commands */
  function reach(path: string): { node: Node; own: boolean } {
    let node = root
    let own = false
    for (const name of namesOf(path)) {
      let next = node.below.get(name)
      if (!next) {
        next = newNode()
        node.below.set(name, next)
      }
      node = next
      own ||= node.written || node.made
    }
    return { node, own }
  }

  function write(path: string): Node {
    const { node } = reach(path)
    return Object.assign(node, { written: true, updated: false })
  }

  function open(event: Extract<FileEvent, { kind: 'open' }>): void {
    const [real, given] = [inside(event.real), inside(event.path)]
    const path = real ?? given
    if (path === undefined || path === '') return
    const { node, own } = reach(path)
    const { writes, fresh, creates } = event
    if (given !== undefined && given !== path && !node.also.includes(given)) node.also.push(given)
    if (writes && fresh) {
      if (creates && !node.read) node.created = true
      write(path)
    } else if (!own) {
      // Opened for writing alone, what it holds stays, too, with more behind it.
      node.read = true
      if (!writes) return
      node.updated = true
      if (creates) node.created = true
    }
  }

  function remove(path: string): void {
    const { node, own } = reach(path)
    Object.assign(node, { ...UNTOUCHED, read: node.read, removed: node.removed || (node.created ? false : !own || node.read) })
  }

  function move(from: string, to: string | undefined): void {
    const { node, own } = reach(from)
    const names = namesOf(from)
    const mine = own || isOwn(node)
    const left = newNode()
    Object.assign(left, { read: node.read || !mine, also: node.also, removed: node.removed || !mine })
    reach(names.slice(0, -1).join('/')).node.below.set(names.at(-1)!, left)
    if (to === undefined || to === '') return
    // What was read in a folder before it moved was read under its old name.
    const reads: [string, Node][] = []
    const visit = (child: Node, path: string) => {
      if (child.read) reads.push([path, child])
      for (const [name, next] of child.below) visit(next, `${path}/${name}`)
    }
    for (const [name, child] of node.below) visit(child, `${from}/${name}`)
    for (const [path, child] of reads) Object.assign(reach(path).node, { read: true, also: child.also })
    const target = reach(to).node
    for (const child of node.below.values()) forgetReads(child)
    const isFolder = node.made || node.below.size > 0
    Object.assign(target, { written: node.written || !mine || !isFolder, made: node.made, updated: false, below: node.below })
  }

  return {
    add(event) {
      switch (event.kind) {
        case 'open':
          return open(event)
        case 'move': {
          const [from, to] = [inside(event.from), inside(event.to)]
          if (from !== undefined && from !== '') return move(from, to)
          if (to !== undefined && to !== '') write(to)
          return
        }
        case 'remove': {
          const path = inside(event.path)
          return path === undefined || path === '' ? undefined : remove(path)
        }
        case 'list':
        case 'make': {
          const path = inside(event.path)
          if (path === undefined) return
          const { node } = reach(path)
          if (event.kind === 'make') node.made = true
          else node.listed = true
        }
      }
    },
    list() {
      const found: Touched[] = []
      const visit = (node: Node, path: string) => {
        const { below, created: _created, ...flags } = node
        const { read, written, updated, removed, listed, made } = flags
        if (read || written || updated || removed || listed || made) found.push({ path, ...flags })
        for (const [name, child] of below) visit(child, path === '' ? name : `${path}/${name}`)
      }
      visit(root, '')
      return found
    },
  }
}
