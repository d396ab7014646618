import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadIgnore } from '../../src/workspace/ignore.ts'
import { parseIgnorePatterns } from '../../src/workspace/ignore-patterns.ts'
import { costOf } from '../helpers/cost.ts'

const made: string[] = []
function world(files: Record<string, string>): string {
  const root = mkdtempSync(join(tmpdir(), 'mlv-ignore-'))
  made.push(root)
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(root, dirname(path)), { recursive: true })
    writeFileSync(join(root, path), text)
  }
  return root
}
afterAll(() => {
  for (const root of made) rmSync(root, { recursive: true, force: true })
})

const FILES = [
  'a',
  'b.txt',
  'ab',
  'x y',
  '[z]',
  'é',
  'd/a',
  'd/b.txt',
  'd/e/a',
  'd/e/f/ab',
  'd/e/f/b.txt',
  '.h',
  'd/.h',
  '#c',
  '!n',
  'e/d/a',
  'A',
]
const FOLDERS = ['d', 'd/e', 'd/e/f', 'e', 'e/d']

describe('gitignore patterns', () => {
  let root: string
  beforeAll(() => {
    root = world(Object.fromEntries(FILES.map((path) => [path, ''])))
    execFileSync('git', ['init', '-q', root])
  })

  function askGit(): Set<string> {
    try {
      const out = execFileSync(
        'git',
        ['-C', root, '-c', 'core.excludesFile=', '-c', 'core.ignoreCase=false', 'check-ignore', '--no-index', '-z', '--stdin'],
        {
          input: [...FILES, ...FOLDERS].join('\0'),
          stdio: ['pipe', 'pipe', 'pipe'],
        },
      )
      return new Set(out.toString().split('\0').filter(Boolean))
    } catch (error) {
      if ((error as { status?: number }).status === 1) return new Set()
      throw error
    }
  }

  const piece = fc.constantFrom(
    'a',
    'b',
    'd',
    'e',
    'f',
    '*',
    '**',
    '/',
    '?',
    '.txt',
    '[ab]',
    '[!a]',
    '[a-c]',
    '[[:alpha:]]',
    '[]z]',
    '\\',
    ' ',
    '.h',
    '#c',
    '!n',
    'é',
    '[',
    ']',
    'x y',
  )
  const line = fc
    .tuple(
      fc.constantFrom('', '', '', '!', '/', '**/', 'd/'),
      fc.array(piece, { maxLength: 5 }),
      fc.constantFrom('', '', '/', '/**', ' ', '\r'),
    )
    .map(([a, b, c]) => a + b.join('') + c)
    // git cuts the plain start off a pattern first, so it takes the stars of `a**/b` for whole folders; gitignore(5) says otherwise.
    .filter((text) => !/[^/!]\*\*|.!\*\*|\\\//.test(text))

  it('mean what git says they mean', () => {
    fc.assert(
      fc.property(fc.array(line, { minLength: 1, maxLength: 4 }), (lines) => {
        const text = `${lines.join('\n')}\n`
        writeFileSync(join(root, '.gitignore'), text)
        writeFileSync(join(root, '.mlvignore'), text)
        const ignore = loadIgnore(root, '')
        const ours = [
          ...FILES.filter((path) => ignore.ignores(path, false)),
          ...FOLDERS.filter((path) => ignore.ignores(path, true)),
        ]
        expect(ours.sort()).toEqual([...askGit()].sort())
      }),
      { numRuns: Number(process.env.IGNORE_RUNS ?? 150) },
    )
  })

  it('cannot be made slow by a hostile file', () => {
    const patterns = parseIgnorePatterns(`${'*a'.repeat(60)}b\n${'**/'.repeat(60)}b\n`)
    // By backtracking it would take longer than the universe has been there.
    expect(patterns.verdict(`${'a/'.repeat(500)}${'a'.repeat(250)}`, 'a'.repeat(250), false)).toBe(undefined)
  })
})

describe('.mlvignore', () => {
  it('counts at every level from the root to the path, the nearest first', () => {
    const root = world({ '.mlvignore': '*.tmp\n/data/x\n', 'data/.mlvignore': '!keep.tmp\n', 'data/sub/.mlvignore': '/only\n' })
    const ignore = loadIgnore(root, 'data')
    expect(ignore.ignores('a.tmp', false)).toBe(true)
    expect(ignore.ignores('keep.tmp', false)).toBe(false)
    expect(ignore.ignores('x', false)).toBe(true)
    expect(ignore.ignores('sub/x', false)).toBe(false)
    expect(ignore.ignores('sub/only', false)).toBe(true)
    expect(ignore.ignores('only', false)).toBe(false)
  })

  it('leaves out everything below an ignored folder, but not the folder that was asked for', () => {
    const root = world({ '.mlvignore': '__pycache__/\n' })
    expect(loadIgnore(root, '').ignores('src/__pycache__/a.pyc', false)).toBe(true)
    expect(loadIgnore(root, '').ignores('__pycache__', false)).toBe(false)
    expect(loadIgnore(root, '__pycache__').ignores('a.pyc', false)).toBe(false)
  })

  it('costs next to nothing for 70,000 files', () => {
    const root = world({ '.mlvignore': '__pycache__/\n.ipynb_checkpoints/\n.DS_Store\n' })
    const paths = Array.from({ length: 70_000 }, (_, i) => `folder-${Math.floor(i / 1000)}/file-${i}.jpg`)
    const ignore = loadIgnore(root, '')
    let ignored = 0
    const cost = costOf(() => {
      for (const path of paths) if (ignore.ignores(path, false)) ignored++
    })
    expect(ignored).toBe(0)
    expect(cost).toBeLessThan(10 * costOf(() => paths.map((path) => path.split('/'))))
  })
})
