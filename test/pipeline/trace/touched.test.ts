import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { FileEvent } from '../../../src/pipeline/trace/strace-output.ts'
import { createTouched } from '../../../src/pipeline/trace/touched.ts'

const inside = (path: string) => (path.startsWith('/repo/') ? path.slice(6) : path === '/repo' ? '' : undefined)

function open(path: string, how: Partial<Extract<FileEvent, { kind: 'open' }>>): FileEvent {
  const full = `/repo/${path}`
  return { kind: 'open', path: full, real: full, reads: false, writes: false, fresh: false, creates: false, ...how }
}
const read = (path: string) => open(path, { reads: true })
const write = (path: string) => open(path, { writes: true, fresh: true, creates: true })
const update = (path: string) => open(path, { reads: true, writes: true, creates: true })
const move = (from: string, to: string): FileEvent => ({ kind: 'move', from: `/repo/${from}`, to: `/repo/${to}` })
const remove = (path: string): FileEvent => ({ kind: 'remove', path: `/repo/${path}` })
const make = (path: string): FileEvent => ({ kind: 'make', path: `/repo/${path}` })

/** What became of each path, in letters: Read, Written, Updated, reMoved. */
function outcome(...events: FileEvent[]): Record<string, string> {
  const touched = createTouched(inside)
  for (const event of events) touched.add(event)
  const found: Record<string, string> = {}
  for (const { path, read, written, updated, removed } of touched.list()) {
    const letters = [read && 'R', written && 'W', updated && 'U', removed && 'M'].filter(Boolean).join('')
    if (letters) found[path] = letters
  }
  return found
}

describe('what a command did, all told', () => {
  it.each<[string, FileEvent[], Record<string, string>]>([
    ['a file read', [read('a')], { a: 'R' }],
    ['a file written and read again', [write('a'), read('a')], { a: 'W' }],
    ['a file read and written then', [read('a'), write('a')], { a: 'RW' }],
    ['a file made for a moment', [write('a'), remove('a')], {}],
    ['a file that was there and is removed', [remove('a')], { a: 'M' }],
    ['a file read and removed', [read('a'), remove('a')], { a: 'RM' }],
    ['a file removed and written anew', [remove('a'), write('a')], { a: 'WM' }],
    ['a file renamed into place', [write('.tmp'), move('.tmp', 'a'), read('a')], { a: 'W' }],
    ['a file edited by way of another', [read('a'), write('.tmp'), move('.tmp', 'a')], { a: 'RW' }],
    ['a file that was there, renamed', [move('a', 'b')], { a: 'RM', b: 'W' }],
    [
      'a folder made and renamed',
      [make('t'), write('t/a'), make('t/s'), write('t/s/b'), move('t', 'out')],
      { 'out/a': 'W', 'out/s/b': 'W' },
    ],
    ['a folder that was there, renamed', [read('in/x'), move('in', 'out'), read('out/y')], { in: 'RM', 'in/x': 'R', out: 'W' }],
    ['a database that is opened for both', [update('db')], { db: 'RU' }],
    ['a lock file that comes and goes', [update('db.lock'), remove('db.lock')], { 'db.lock': 'R' }],
    ['what comes from elsewhere', [{ kind: 'move', from: '/tmp/x', to: '/repo/a' }], { a: 'W' }],
    ['what goes elsewhere', [{ kind: 'move', from: '/repo/a', to: '/tmp/x' }], { a: 'RM' }],
    ['files of others', [{ ...read('a'), path: '/etc/a', real: '/etc/a' } as FileEvent], {}],
    ['a name like that of the project', [{ ...read('a'), path: '/repository/a', real: '/repository/a' } as FileEvent], {}],
  ])('%s', (_name, events, expected) => expect(outcome(...events)).toEqual(expected))

  it('names a file where it lies, and remembers the link that led there', () => {
    const touched = createTouched(inside)
    touched.add(open('latest/x', { reads: true, real: '/repo/v3/x' }))
    touched.add(open('disk/y', { reads: true, real: '/mnt/disk/y' }))
    expect(touched.list()).toMatchObject([
      { path: 'v3/x', read: true, also: ['latest/x'] },
      { path: 'disk/y', read: true, also: [] },
    ])
  })
})

type Step = { do: 'read' | 'write' | 'remove'; path: string } | { do: 'move'; path: string; to: string }
const paths = fc.constantFrom('a', 'b', 'c', 'd/a', 'd/b')
const steps = fc.array(
  fc.oneof(
    fc.record({ do: fc.constantFrom('read', 'write', 'remove'), path: paths }) as fc.Arbitrary<Step>,
    fc.record({ do: fc.constant('move'), path: paths, to: paths }) as fc.Arbitrary<Step>,
  ),
  { maxLength: 12 },
)

describe('files alone', () => {
  it('agrees with a disk that remembers whose each file is', () => {
    fc.assert(
      fc.property(fc.subarray(['a', 'b', 'c', 'd/a', 'd/b']), steps, (before, plan) => {
        const disk = new Map<string, 'old' | 'own'>(before.map((path) => [path, 'old']))
        const reads = new Set<string>()
        const events: FileEvent[] = []
        for (const step of plan) {
          const here = disk.get(step.path)
          if (step.do === 'write') {
            disk.set(step.path, 'own')
            events.push(write(step.path))
          } else if (here !== undefined && step.do === 'read') {
            if (here === 'old') reads.add(step.path)
            events.push(read(step.path))
          } else if (here !== undefined && step.do === 'remove') {
            disk.delete(step.path)
            events.push(remove(step.path))
          } else if (here !== undefined && step.do === 'move' && step.to !== step.path) {
            if (here === 'old') reads.add(step.path)
            disk.delete(step.path)
            disk.set(step.to, 'own')
            events.push(move(step.path, step.to))
          }
        }
        const found = Object.entries(outcome(...events))
        const withLetter = (letter: string) => found.filter(([, letters]) => letters.includes(letter)).map(([path]) => path)
        expect(withLetter('W').sort()).toEqual([...disk].flatMap(([path, whose]) => (whose === 'own' ? [path] : [])).sort())
        expect(withLetter('R').sort()).toEqual([...reads].sort())
      }),
    )
  })
})
