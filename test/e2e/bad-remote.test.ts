import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { expectFailure } from '../helpers/failure.ts'
import { listing } from '../helpers/listing.ts'
import { makeFolder, makeRepo, type Repo } from '../helpers/repo.ts'

async function world(): Promise<{ repo: Repo; remote: string }> {
  const remote = makeFolder().dir
  const repo = await makeRepo({ 'data/a': 'alpha', 'data/secret': 'for nobody', b: 'beta' }, { init: true })
  await repo.mlv('remote', 'add', 'origin', remote, '--local')
  expect(await repo.mlv('add', 'data', 'b')).toMatchObject({ exitCode: 0 })
  await repo.commit()
  expect(await repo.mlv('push')).toMatchObject({ exitCode: 0 })
  return { repo, remote }
}

function describeAs(remote: string, change: object): void {
  const file = join(remote, 'mlv.json')
  const text = JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), ...change })
  rmSync(file)
  writeFileSync(file, text)
}

const READING = [['pull'], ['fetch', '--all-commits'], ['fsck', '--remote'], ['drop', 'b']]
const WRITING = [
  ['push'],
  ['gc', '--remote', '--yes', '--grace', '0', '--force'],
  ['fsck', '--remote', '--repair'],
  ['purge', 'data/secret', '--all-commits', '--yes', '-r', 'origin'],
]

describe('a remote of a newer mlv', () => {
  it('is named by every command that would read it, and nothing is written there', async () => {
    const { repo, remote } = await world()
    describeAs(remote, { format: 2 })
    const before = listing(remote)
    rmSync(repo.path('.git/mlv/state'), { recursive: true })
    repo.write('b', 'changed')
    await repo.mlv('add', 'b')
    for (const command of [...READING.slice(0, 3), ...WRITING])
      expect(expectFailure(await repo.mlv(...command), 6, /needs a newer mlv \(format 2\)/)).toContain('Update mlv')
    expectFailure(await repo.mlv('drop', 'b'), 6, /needs a newer mlv/)
    expect(listing(remote)).toEqual(before)
    expect(repo.read('data/secret')).toBe('for nobody')
    const here = await makeRepo({}, { init: true })
    rmSync(repo.path('.git/mlv/store'), { recursive: true })
    await repo.commit()
    expectFailure(await here.mlv('import', repo.dir, 'data'), 6, /needs a newer mlv/)
    expect(here.exists('data.mlv')).toBe(false)
  })

  it('that can still be read is read, and not written to', async () => {
    const { repo, remote } = await world()
    describeAs(remote, { write_requires: ['leases'] })
    const before = listing(remote)
    for (const path of ['data', 'b', '.git/mlv/store', '.git/mlv/state']) rmSync(repo.path(path), { recursive: true })
    for (const command of READING) expect(await repo.mlv(...command)).toMatchObject({ exitCode: 0, stderr: '' })
    expect(listing(repo.path('data'))).toEqual({ a: 'alpha', secret: 'for nobody' })
    for (const command of WRITING) expectFailure(await repo.mlv(...command), 6, /needs a newer mlv \(leases\)/)
    expect(listing(remote)).toEqual(before)
  })
})

describe('files of others under the prefix of a remote', () => {
  it('are left alone by every command', async () => {
    const { repo, remote } = await world()
    const names = ['README', 'f'.repeat(63), `${'0'.repeat(64)}.bak`, '.hidden']
    const folders = [
      '',
      'packs',
      'packs/ab',
      'index',
      'condemned',
      'purged',
      'corrupt',
      'projects',
      'runs/ab',
      'objects/ab',
      'raw',
    ]
    const foreign = folders.flatMap((folder) => names.map((name) => join(folder, name)))
    for (const path of foreign) {
      mkdirSync(dirname(join(remote, path)), { recursive: true })
      writeFileSync(join(remote, path), `of others: ${path}`)
    }
    repo.write('b', 'changed')
    await repo.mlv('add', 'b')
    await repo.commit()
    for (const command of [...WRITING.slice(0, -1), ...READING, WRITING.at(-1)!])
      expect({ command, ...(await repo.mlv(...command)) }).toMatchObject({ exitCode: 0, stderr: '' })
    expect(listing(remote)).toMatchObject(Object.fromEntries(foreign.map((path) => [path, `of others: ${path}`])))
    for (const path of ['b', '.git/mlv/store', '.git/mlv/state']) rmSync(repo.path(path), { recursive: true })
    expect(await repo.mlv('pull', 'b')).toMatchObject({ exitCode: 0, stderr: '' })
    expect(repo.read('b')).toBe('changed')
  })
})
