import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, posix, relative, sep } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'

const SRC = fileURLToPath(new URL('../src', import.meta.url))

/** A room may import those of earlier floors, and itself; rooms of one floor do not know each other. */
const FLOORS = [
  ['base'],
  ['store'],
  ['transport', 'git'],
  ['workspace'],
  ['measure'],
  ['pipeline'],
  ['experiment', 'migrate'],
  ['mlflow'],
  ['cli', 'library'],
]

/** Packages that one file alone, or files whose names begin alike, may import, so that they can be replaced and load only where they are used. */
const SINGLE: Record<string, string> = {
  '@aws-sdk/': 'transport/s3-',
  'isomorphic-git': 'git/isomorphic.ts',
}

interface Source {
  path: string
  room: string
  text: string
  imports: string[]
}

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|[^:'"`])\/\/.*$/gm, '$1')
}

function importsOf(code: string): string[] {
  const found = [
    ...code.matchAll(
      /(?:^|[\s;])(?:import|export)\s[^'"]*?from\s*'([^']+)'|(?:^|[^.\w])import\(\s*'([^']+)'\s*\)|^import\s*'([^']+)'/gm,
    ),
  ]
  return found.map((match) => (match[1] ?? match[2] ?? match[3])!)
}

const sources: Source[] = readdirSync(SRC, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
  .map((entry) => {
    const full = join(entry.parentPath, entry.name)
    const path = relative(SRC, full).split(sep).join('/')
    const text = withoutComments(readFileSync(full, 'utf8'))
    return { path, room: path.split('/')[0]!, text, imports: importsOf(text) }
  })

function floorOf(room: string): number {
  return FLOORS.findIndex((rooms) => rooms.includes(room))
}

function targetOf(source: Source, name: string): string {
  return posix.join(dirname(source.path), name)
}

describe('the house', () => {
  it('has files to look at, and sees their imports', () => {
    expect(sources.length).toBeGreaterThan(50)
    expect(sources.find(({ path }) => path === 'workspace/open-project.ts')?.imports).toEqual(
      expect.arrayContaining(['../base/errors.ts', '../git/open-git.ts', './link.ts']),
    )
  })

  it('has only the rooms of the plan', () => {
    expect(sources.filter(({ room }) => floorOf(room) < 0).map(({ path }) => path)).toEqual([])
  })

  it('is described by CONTRIBUTING as it stands', () => {
    const text = readFileSync(join(SRC, '../CONTRIBUTING.md'), 'utf8')
    expect(text).toContain(`\`${FLOORS.map((rooms) => rooms.join(' | ')).join(' → ')}\``)
    const named = [...text.matchAll(/^\| `([a-z]+)` +\|/gm)].map((match) => match[1])
    expect(named).toEqual(FLOORS.flat())
    expect([...new Set(sources.map(({ room }) => room))].sort()).toEqual(FLOORS.flat().sort())
  })

  it('imports downwards only', () => {
    const wrong = sources.flatMap((source) =>
      source.imports
        .filter((name) => name.startsWith('.') && !name.endsWith('package.json'))
        .map((name) => ({ name, room: targetOf(source, name).split('/')[0]! }))
        .filter(({ room }) => room !== source.room && floorOf(room) >= floorOf(source.room))
        .map(({ name }) => `${source.path} imports ${name}`),
    )
    expect(wrong).toEqual([])
  })

  it('names files with their ending, in this repository only', () => {
    const wrong = sources.flatMap((source) =>
      source.imports
        .filter(
          (name) => name.startsWith('.') && !name.endsWith('.ts') && !(source.room === 'cli' && name === '../../package.json'),
        )
        .map((name) => `${source.path} imports ${name}`),
    )
    expect(wrong).toEqual([])
  })

  it.each(Object.entries(SINGLE))('imports %s in one place', (start, only) => {
    const importers = sources.filter(({ imports }) => imports.some((name) => name.startsWith(start))).map(({ path }) => path)
    expect(importers.filter((path) => !path.startsWith(only))).toEqual([])
    expect(importers).not.toEqual([])
  })

  it('prints, exits and reads the process in cli alone', () => {
    const globals = /\bconsole\.|\bprocess\.(env|cwd|exit|exitCode|argv|stdout|stderr|stdin|on|chdir)\b/g
    // The AWS SDK takes the switch for its notice from the environment alone; faults must reach threads, too; a program's own environment
    // is what its mlv runs in unless it hands in another.
    const allowed = ['transport/s3-client.ts: process.env', 'base/fault-point.ts: process.env', 'library/library.ts: process.env']
    const wrong = sources
      .filter(({ room }) => room !== 'cli')
      .flatMap(({ path, text }) => [...text.matchAll(globals)].map((match) => `${path}: ${match[0]}`))
      .filter((line) => !allowed.includes(line))
    expect(wrong).toEqual([])
  })

  it('keeps start-up light: main.ts loads next to nothing by itself', () => {
    const main = sources.find(({ path }) => path === 'cli/main.ts')!
    const fixed = [...main.text.matchAll(/^import .*from '([^']+)'/gm)].map((match) => match[1])
    expect(fixed).toEqual(['node:path', './code-cache.ts', './version.ts'])
  })

  it('has no drawer for what nobody found a place for', () => {
    expect(
      sources.filter(({ path }) => /(^|\/)(utils?|helpers?|common|misc|index)(\/|\.ts$)/.test(path)).map(({ path }) => path),
    ).toEqual([])
  })
})
