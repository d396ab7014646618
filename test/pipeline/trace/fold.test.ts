import { expect, it } from 'vitest'
import type { RepoPath } from '../../../src/base/paths.ts'
import { foldPaths } from '../../../src/pipeline/trace/fold.ts'

interface World {
  /** files that lie in each folder, with all below */
  counts?: Record<string, number>
  joined?: string[]
  refused?: string[]
}

function fold(paths: string[], { counts = {}, joined = [], refused = [] }: World = {}): string[] {
  return foldPaths(paths as RepoPath[], {
    allows: (folder) => !refused.includes(folder),
    joined: (folder) => joined.includes(folder),
    count: (folder, most) => Math.min(counts[folder] ?? paths.filter((path) => path.startsWith(`${folder}/`)).length, most + 1),
  })
}

it('takes a folder for its files where they are many and most of it', () => {
  const many = ['d/1', 'd/2', 'd/3', 'd/x/4']
  expect(fold(many)).toEqual(['d'])
  expect(fold(many, { counts: { d: 5 } })).toEqual(['d'])
  expect(fold(many, { counts: { d: 6 } })).toEqual(many)
})

it('takes a folder that was listed or made from two files on, when they are all of it', () => {
  expect(fold(['d/1', 'd/2'])).toEqual(['d/1', 'd/2'])
  expect(fold(['d/1', 'd/2'], { joined: ['d'] })).toEqual(['d'])
  expect(fold(['d/1', 'd/2'], { joined: ['d'], counts: { d: 3 } })).toEqual(['d/1', 'd/2'])
  expect(fold(['d/1'], { joined: ['d'] })).toEqual(['d/1'])
})

it('looks into a folder that may not stand for its files, and never takes the whole project', () => {
  const paths = ['a', 'd/1', 'd/e/2', 'd/e/3', 'd/e/4', 'd/e/5']
  expect(fold(paths)).toEqual(['a', 'd'])
  expect(fold(paths, { refused: ['d'] })).toEqual(['a', 'd/1', 'd/e'])
  expect(fold(['a', 'b', 'c', 'd', 'e'], { joined: [''] })).toEqual(['a', 'b', 'c', 'd', 'e'])
})
