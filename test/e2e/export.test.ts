import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { afterAll, describe, expect, it } from 'vitest'
import { expectFailure } from '../helpers/failure.ts'
import { listing } from '../helpers/listing.ts'
import { makeFolder, makeRepo, type Repo } from '../helpers/repo.ts'
import { startS3 } from '../helpers/s3-server.ts'

async function dataRepo(env: Record<string, string> = {}): Promise<Repo> {
  const repo = await makeRepo(
    { 'data/a b.csv': 'old', 'data/sub/b': 'bee', 'data/empty': '', 'data/run': '#!' },
    { init: true, env },
  )
  chmodSync(repo.path('data/run'), 0o755)
  symlinkSync('run', repo.path('data/link'))
  await repo.mlv('add', 'data')
  await repo.commit('First')
  await repo.git('tag', 'v1')
  repo.write('data/a b.csv', 'new')
  await repo.mlv('add', 'data')
  return repo
}

describe('mlv export to a folder', () => {
  it('writes plain files, leaves alone what is there already, and overwrites nothing unasked', async () => {
    const repo = await dataRepo()
    const out = `${makeFolder().dir}/www/data`
    expect((await repo.mlv('export', 'data', out, '--rev', 'v1', '--dry-run')).stdout).toBe(
      `would write 5 files, 11 B, to ${out}\n`,
    )
    expect((await repo.mlv('export', 'data', out, '--rev', 'v1')).stdout).toBe(`wrote 5 files, 11 B, to ${out}\n`)
    const files = { 'a b.csv': 'old', empty: '', link: '→ run', run: 'exec #!', 'sub/b': 'bee' }
    expect(listing(out)).toEqual(files)
    expect((await repo.mlv('export', 'data', out, '--rev', 'v1')).stdout).toBe(
      `wrote 0 files, 0 B, to ${out}; 5 files there already\n`,
    )
    expect(expectFailure(await repo.mlv('export', 'data', out), 4, 'another file at "a b.csv"')).toContain('--force')
    expect(listing(out)).toEqual(files)
    expect((await repo.mlv('export', 'data', out, '--force')).stdout).toMatch(/^wrote 1 file, 3 B,/)
    expect(listing(out)).toEqual({ ...files, 'a b.csv': 'new' })
    await repo.mlv('export', 'data/sub/b', `${out}/copy`)
    await repo.mlv('export', 'data/run', `${out}/sub`)
    expect(listing(out)).toMatchObject({ copy: 'bee', 'sub/run': 'exec #!' })
  })

  it('removes what a killed one left beside the files, and nothing else', async () => {
    const repo = await dataRepo()
    const out = `${makeFolder().dir}/out`
    const killed = await repo.mlvWith({ env: { MLV_FAULT: 'kill:1@file: name' } }, 'export', 'data', out)
    expect(killed.exitCode).toBe(-1)
    expect(Object.keys(listing(out)).join()).toContain('.mlv-tmp-')
    const others = '.mlv-tmp-0123456789ab-other.tmp'
    writeFileSync(`${out}/${others}`, 'of another export')
    expect(await repo.mlv('export', 'data', out, '--dry-run')).toMatchObject({ exitCode: 0 })
    expect(Object.keys(listing(out)).length).toBeGreaterThan(1)
    expect(await repo.mlv('export', 'data', out)).toMatchObject({ exitCode: 0, stderr: '' })
    expect(Object.keys(listing(out)).sort()).toEqual([others, 'a b.csv', 'empty', 'link', 'run', 'sub/b'])
  })

  it('names the file whose bytes cannot be had', async () => {
    const repo = await dataRepo()
    expect(await repo.mlv('purge', 'data/sub/b', '--all-commits', '--yes')).toMatchObject({ exitCode: 0 })
    expectFailure(await repo.mlv('export', 'data', '../out'), 5, /data\/sub\/b: .* was purged/)
  })

  it('fills no folder with the repository in it, nor the whole disk', async () => {
    const repo = await dataRepo()
    symlinkSync('.', repo.path('here'))
    for (const place of ['.', '..', 'here', '/', repo.dir])
      expectFailure(await repo.mlv('export', 'data', place), 2, place === '/' ? 'the whole disk' : 'what you work in')
    expect(repo.exists('run')).toBe(false)
    // A file goes into a folder, as with cp.
    expect(await repo.mlv('export', 'data/run', '.')).toMatchObject({ exitCode: 0 })
    expect(repo.read('run')).toBe('#!')
  })

  it('follows no link out of the folder, and says what is in the way', async () => {
    const repo = await dataRepo()
    const { dir } = makeFolder()
    const out = `${dir}/out`
    mkdirSync(out)
    symlinkSync(dir, `${out}/sub`)
    expectFailure(await repo.mlv('export', 'data', out, '--force'), 2, 'symbolic link')
    expect(listing(out)).toEqual({ sub: `→ ${dir}` })
    mkdirSync(`${dir}/other/empty`, { recursive: true })
    expectFailure(await repo.mlv('export', 'data', `${dir}/other`, '--force'), 4, 'is a folder')
    expectFailure(await repo.mlv('export', 'nope', out), 2, 'tracks nothing at nope')
    symlinkSync('.git', repo.path('link'))
    for (const place of ['.git/x', '.git', 'link/x', '.mlv/x', '../other/.GIT/x'])
      expectFailure(await repo.mlv('export', 'data', place), 2, 'that git or mlv keeps for itself')
    expect([repo.exists('.git/x'), repo.exists('.mlv/x')]).toEqual([false, false])
    expectFailure(await repo.mlv('export', 'data', 'https://127.0.0.1:9/x'), 2, 'cannot be written')
    expectFailure(await repo.mlv('export', 'data', 'https://a:hunter2@h/x'), 2, /^(?!.*hunter2)/)
  })
})

describe('mlv export to a bucket', async () => {
  const server = await startS3()
  afterAll(() => server?.stop())

  it.skipIf(!server)('writes plain keys, large files in parts, and sends again only what changed', async () => {
    const s3 = server!
    const name = await s3.bucket('export')
    const env = { AWS_ACCESS_KEY_ID: s3.accessKeyId, AWS_SECRET_ACCESS_KEY: s3.secretAccessKey, AWS_REGION: s3.region }
    const repo = await dataRepo(env)
    const large = Buffer.alloc((33 << 20) + 5, 'large file ')
    repo.write('data/large', large)
    await repo.mlv('add', 'data')
    const at = ['--endpoint', s3.endpoint]
    const url = `s3://${name}/lake/points`
    const done = await repo.mlv('export', 'data', url, ...at)
    expect(done.stdout).toMatch(/^wrote 5 files, 33 MiB,/)
    expect(done.stderr).toBe('warning: a bucket has no symbolic links: 1 link left out, first link\n')
    const { createS3Blobs } = await import('../../src/transport/s3-blobs.ts')
    const blobs = await createS3Blobs({ bucket: name, prefix: 'lake', endpoint: s3.endpoint, region: s3.region, env })
    const keys = []
    for await (const { key, size } of blobs.list('')) keys.push(`${key} ${size}`)
    expect(keys).toEqual(['points/a b.csv 3', 'points/empty 0', `points/large ${large.length}`, 'points/run 2', 'points/sub/b 3'])
    expect(Buffer.compare(await blobs.get('points/large'), large)).toBe(0)
    expect((await repo.mlv('export', 'data', url, ...at)).stdout).toBe(`wrote 0 files, 0 B, to ${url}; 5 files there already\n`)
    repo.write('data/large', Buffer.concat([large.subarray(0, -1), Buffer.from('!')]))
    await repo.mlv('add', 'data')
    expectFailure({ ...(await repo.mlv('export', 'data', url, ...at)) }, 4, 'another file at "large"')
    expect((await repo.mlv('export', 'data', url, ...at, '--force')).stdout).toMatch(
      /^wrote 1 file, 33 MiB,.*; 4 files there already\n$/,
    )
    expect((await blobs.get('points/large')).at(-1)).toBe(33)
    expect((await repo.mlv('export', 'data/sub/b', `s3://${name}/one.bin`, ...at)).exitCode).toBe(0)
    const again = await makeRepo({}, { init: true, env })
    expect((await again.mlv('import-url', `${url}/`, ...at, '-o', 'back')).exitCode).toBe(0)
    expect(listing(again.path('back'))).toMatchObject({ 'a b.csv': 'new', 'sub/b': 'bee' })
    blobs.close?.()
  })
})

it('says in a line that the destination is a file, or lies where no folder can be made', async () => {
  const repo = await makeRepo({ 'data/a.txt': 'a\n' }, { init: true })
  await repo.mlv('add', 'data')
  repo.write('taken', '')
  for (const place of process.platform === 'linux' ? ['taken', 'taken/x', '/proc/mlv'] : ['taken', 'taken/x']) {
    const result = await repo.mlv('export', 'data', place)
    expect(result.stderr).toMatch(/^error: .*\n( {2}.*\n)?$/)
    expect(result.exitCode).not.toBe(70)
  }
})
