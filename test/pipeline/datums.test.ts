import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Oid, oidOfBytes } from '../../src/base/oid.ts'
import type { RepoPath } from '../../src/base/paths.ts'
import { listDatums } from '../../src/pipeline/datums.ts'
import type { Each, EachInput } from '../../src/pipeline/each.ts'
import { fillGroups, PatternFault, parsePattern } from '../../src/pipeline/glob-groups.ts'
import type { DataFile } from '../../src/workspace/data.ts'

const file = (path: string): DataFile => ({ path, kind: 'file', oid: oidOfBytes(path) as Oid, size: path.length })
const input = (path: string, glob: string, on = ''): EachInput => ({ name: path, path: path as RepoPath, glob, on })
const names = (each: Each, ...files: string[][]) =>
  listDatums(
    each,
    files.map((list) => list.map(file)),
  ).map(({ name }) => name)

describe('patterns', () => {
  it.each([
    ['*.jpg', 'a.jpg', []],
    ['*.jpg', 'x/a.jpg', undefined],
    ['**/*.jpg', 'a.jpg', []],
    ['**/*.jpg', 'x/y/a.jpg', []],
    ['**', 'x/y', []],
    ['(*)-(*).txt', 'a-b.txt', ['a', 'b']],
    ['(*)/({cat,dog})?.png', 'x/dog1.png', ['x', 'dog']],
    ['[a-c][!0-9].x', 'bz.x', []],
    ['[a-c][!0-9].x', 'b1.x', undefined],
    ['a+b.(c)', 'a+b.c', ['c']],
    ['/', '', []],
    ['./', '', []],
    ['/*.jpg', 'a.jpg', []],
    ['./x/*.jpg', 'x/a.jpg', []],
    ['..a/*..', '..a/b..', []],
    ['a,../b', 'a,../b', []],
  ])('%s of %s catches %j', (pattern, path, groups) => {
    expect(parsePattern(pattern).match(path)).toEqual(groups)
  })

  it.each(['(a', 'a)', '{a', '[a', '(a}'])('%s is refused', (pattern) => {
    expect(() => parsePattern(pattern)).toThrow(PatternFault)
  })

  it.each(['../*', 'a/../b', '{..,a}/*', '{a,..}/*', '(..)/*', 'a/..', '..'])(
    '%s is refused, which leads out of the input',
    (pattern) => {
      expect(() => parsePattern(pattern)).toThrow('leads out of its input with ".."')
    },
  )

  it('/train/*.jpg starts at the input', () => {
    expect(parsePattern('/train/*.jpg').match('train/a.jpg')).toEqual([])
  })

  it('answers or refuses any text', () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (pattern, path) => {
        try {
          parsePattern(pattern).match(path)
        } catch (error) {
          expect(error).toBeInstanceOf(PatternFault)
        }
      }),
    )
  })

  it('fills what the groups caught', () => expect(fillGroups('$2-$1-$3', ['a', 'b'])).toBe('b-a-'))
})

describe('datums', () => {
  const files = ['a/1.txt', 'a/2.txt', 'b/1.txt', 'c.txt']

  it('are files, or folders with all below them', () => {
    expect(names({ by: 'union', inputs: [input('in', '**/*.txt')] }, files)).toEqual([
      'in/a/1.txt',
      'in/a/2.txt',
      'in/b/1.txt',
      'in/c.txt',
    ])
    expect(names({ by: 'union', inputs: [input('in', '*')] }, files)).toEqual(['in/a', 'in/b', 'in/c.txt'])
    expect(names({ by: 'union', inputs: [input('in', '/')] }, files)).toEqual(['in'])
    expect(names({ by: 'union', inputs: [input('in', '*')] }, [])).toEqual([])
  })

  it('are parts of each, pairs of all, or those that belong together', () => {
    const left = input('l', '(*).x', '$1')
    const right = input('r', '(*)-(*).y', '$1')
    const files: [string[], string[]] = [
      ['a.x', 'b.x', 'c.x'],
      ['a-1.y', 'a-2.y', 'b-1.y', 'd-1.y'],
    ]
    expect(names({ by: 'union', inputs: [left, right] }, ...files)).toHaveLength(7)
    expect(names({ by: 'cross', inputs: [left, right] }, ...files)).toHaveLength(12)
    expect(names({ by: 'join', inputs: [left, right] }, ...files)).toEqual([
      'l/a.x + r/a-1.y',
      'l/a.x + r/a-2.y',
      'l/b.x + r/b-1.y',
    ])
    expect(names({ by: 'group', inputs: [left, right] }, ...files)).toEqual([
      'l/a.x + r/a-1.y + r/a-2.y',
      'l/b.x + r/b-1.y',
      'l/c.x',
      'r/d-1.y',
    ])
  })

  it('of a cross that would never end are refused', () => {
    const many = Array.from({ length: 2000 }, (_, at) => `${at}.x`)
    expect(() => names({ by: 'cross', inputs: [input('l', '*'), input('r', '*')] }, many, many)).toThrow('4000000 datums')
  })
})
