import { chmodSync, symlinkSync, writeFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { createGitProcess, findGitProgram } from '../../src/git/git-process.ts'
import { writeTreeWith } from '../../src/git/tree-writer.ts'
import { makeRepo } from '../helpers/repo.ts'

it('replaces and adds files at any depth, and leaves all else, also what git alone can name, as it was', async () => {
  const repo = await makeRepo({ 'a.mlv': 'old', 'sub/b.mlv': 'old', 'sub/run': 'x', 'sub-1': 'x', 'ü/z': 'x', 'sub.txt': 'x' })
  chmodSync(repo.path('sub/run'), 0o755)
  symlinkSync('nowhere', repo.path('sub/link'))
  writeFileSync(Buffer.concat([Buffer.from(`${repo.path('sub')}/`), Buffer.from([0xe9, 0x0a, 0x09])]), 'latin1')
  await repo.git('update-index', '--add', '--cacheinfo', `160000,${'1'.repeat(40)},module`)
  await repo.git('add', '.')
  await repo.git('commit', '-q', '-m', 'First')
  const place = { workTree: repo.dir, gitDir: repo.path('.git'), commonDir: repo.path('.git') }
  const git = createGitProcess(findGitProgram(repo.env)!, place, repo.env)
  const files = new Map([
    ['a.mlv', 'new'],
    ['sub/b.mlv', 'new'],
    ['sub/ü/deep/c.mlv', 'new'],
    ['sub/ü/d.mlv', 'new'],
    // Sorts elsewhere as a folder than as a file.
    ['sub-1/e.mlv', 'new'],
  ])
  const listed = async (tree: string) => (await repo.git('ls-tree', '-r', '-z', tree)).split('\0').filter(Boolean)
  const before = await listed('HEAD')
  const tree = await writeTreeWith(git, 'HEAD', files)
  const after = await listed(tree)
  const isNew = (line: string) => files.has(line.slice(line.indexOf('\t') + 1))
  expect(after.filter((line) => !isNew(line))).toEqual(before.filter((line) => !isNew(line) && !line.endsWith('\tsub-1')))
  expect(after.filter(isNew).map((line) => line.slice(line.indexOf('\t') + 1))).toHaveLength(files.size)
  for (const path of files.keys()) expect(await repo.git('cat-file', '-p', `${tree}:${path}`)).toBe('new')
  // Its order and names are those that git itself writes.
  expect(await repo.git('fsck', '--strict', tree)).not.toMatch(/error|warning/)
  await repo.git('read-tree', tree)
  expect(await repo.git('write-tree', '--missing-ok')).toBe(tree)
})
