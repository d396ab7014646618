import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { expectFailure } from '../helpers/failure.ts'
import { type Fault, isListing, startFaultyProxy } from '../helpers/faulty-proxy.ts'
import { makeFolder, type Repo } from '../helpers/repo.ts'
import { startS3 } from '../helpers/s3-server.ts'
import { makeWorld, ok, pass } from './garbage-world.ts'
import { pointedAt, unreadable } from './soundness.ts'

const server = await startS3()
const proxy = server && (await startFaultyProxy(server.endpoint))
afterAll(async () => {
  await proxy?.stop()
  await server?.stop()
})

const GC = ['gc', '-r', '--yes', '--json', '--grace', '0', '--force']

/** Something new that nothing needs any more once it has been pushed. */
async function pushGarbage(clone: Repo, text: string): Promise<void> {
  clone.write('new', text)
  await ok(clone, 'add', 'new')
  await ok(clone, 'push')
  clone.write('new', 'new')
  await ok(clone, 'add', 'new')
  await ok(clone, 'push')
}

// Some tests look at what lies there, and make time pass there.
describe.skipIf(server?.folder === undefined)('a collection of a bucket over a bad network', () => {
  const FAULTS: [string, Fault][] = [
    ['500', { kind: 'status', status: 500 }],
    ['503 SlowDown', { kind: 'status', status: 503, name: 'SlowDown' }],
    ['429', { kind: 'status', status: 429, name: 'TooManyRequests', headers: { 'retry-after': '0' } }],
    ['a reset', { kind: 'reset', bytes: 0 }],
    ['an answer that is lost', { kind: 'lose' }],
  ]

  it('goes on after each passing fault, and deletes what nothing needs', async () => {
    const { clone, remote } = await makeWorld(server, proxy!.endpoint)
    for (const [name, fault] of FAULTS) {
      await pushGarbage(clone, name)
      for (const after of [0, 4, 8, 12]) proxy!.inject({ fault, times: 1, after })
      const { done } = JSON.parse(await ok(clone, ...GC))
      expect(proxy!.clear()).toBe(4)
      expect(done.deleted, name).toBeGreaterThan(0)
      expect(await unreadable(remote, 'remote', await pointedAt(clone.dir))).toEqual([])
    }
  })

  it('ends in one line where a fault stays, loses nothing, and can be run again', async () => {
    const { clone, remote } = await makeWorld(server, proxy!.endpoint)
    await pushGarbage(clone, 'garbage')
    const env = { AWS_MAX_ATTEMPTS: '2' }
    let failures = 0
    for (const after of [1, 9, 13, 17, 21]) {
      proxy!.inject({ fault: { kind: 'status', status: 503, name: 'SlowDown' }, after })
      const result = await clone.mlvWith({ env }, ...GC.filter((word) => word !== '--json'))
      // What earlier ones did may leave fewer requests than that.
      if (proxy!.clear() === 0) expect(result).toMatchObject({ exitCode: 0, stderr: '' })
      else {
        expectFailure(result, 7, 'answered 503')
        failures++
      }
      expect(await unreadable(remote, 'remote', await pointedAt(clone.dir))).toEqual([])
    }
    expect(failures).toBeGreaterThan(1)
    await ok(clone, ...GC)
    const left = JSON.parse(await ok(clone, ...GC, '--dry-run'))
    expect([left.condemn.packs, left.delete.packs]).toEqual([0, 0])
    expect(await unreadable(remote, 'remote', await pointedAt(clone.dir))).toEqual([])
  })

  it('is known to a push whose listings are older than the second pass', async () => {
    const { repo, clone, remote } = await makeWorld(server)
    await ok(clone, 'remote', 'modify', 'origin', '--local', '--endpoint', proxy!.endpoint)
    pass(remote, 31)
    await ok(repo, 'gc', '-r', '--yes', '--force')
    pass(remote, 31)
    await ok(clone, 'push', '--dry-run')
    const second = JSON.parse(await ok(repo, 'gc', '-r', '--yes', '--json', '--force'))
    expect(second.done.deleted).toBeGreaterThan(0)
    // For ever, it cannot be known what is there; for a while, it is waited for.
    proxy!.inject({ fault: { kind: 'stale' }, matches: isListing })
    expectFailure(await clone.mlv('push'), 7, 'lists what is no longer there')
    expect(proxy!.clear()).toBeGreaterThan(0)
    proxy!.inject({ fault: { kind: 'stale' }, matches: isListing, times: 4 })
    await ok(clone, 'push')
    expect(proxy!.clear()).toBe(4)
    expect(await unreadable(remote, 'remote', await pointedAt(clone.dir))).toEqual([])
  })

  it('whose own listings are old takes nothing that was pushed since', async () => {
    const { repo, clone, remote } = await makeWorld(server)
    await ok(repo, 'remote', 'modify', 'origin', '--local', '--endpoint', proxy!.endpoint)
    pass(remote, 31)
    await ok(repo, 'gc', '-r', '--yes', '--force')
    pass(remote, 31)
    await ok(repo, 'gc', '-r', '--dry-run', '--force')
    await ok(clone, 'push')
    proxy!.inject({ fault: { kind: 'stale' }, matches: isListing })
    const second = JSON.parse(await ok(repo, 'gc', '-r', '--yes', '--json', '--force'))
    expect(second.done.deleted).toBeGreaterThan(0)
    expect(proxy!.clear()).toBeGreaterThan(0)
    expect(await unreadable(remote, 'remote', await pointedAt(clone.dir))).toEqual([])
  })
})

describe.each([
  ['ahead', 1],
  ['behind', -1],
] as const)('a machine whose clock is a day %s', (_name, days) => {
  /** The environment of a process that takes it to be another day. */
  function skewed(): Record<string, string> {
    const script = join(makeFolder().dir, 'skew.cjs')
    writeFileSync(
      script,
      `const now = Date.now; const Real = Date; const skew = ${days * 24 * 3_600_000}
      globalThis.Date = class extends Real { constructor(...a) { a.length === 0 ? super(now() + skew) : super(...a) } static now() { return now() + skew } }`,
    )
    return { NODE_OPTIONS: `--require ${script}` }
  }

  it.skipIf(server?.folder === undefined).each([true, false])(
    'collects by the clock of the place, and pushes beside collections (bucket: %s)',
    async (isBucket) => {
      const { repo, clone, remote } = await makeWorld(isBucket ? server : undefined)
      const odd = { env: skewed() }
      const gc = async (repo: Repo, ...more: string[]) => {
        const { exitCode, stdout, stderr } = await repo.mlvWith(odd, 'gc', '-r', '--yes', '--json', '--force', ...more)
        expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' })
        return JSON.parse(stdout)
      }
      // Pushed just now: younger than half a day, whoever looks.
      expect((await gc(repo, '--grace', '12h')).condemn.packs).toBe(0)
      pass(remote, 31)
      expect((await gc(repo)).condemn.packs).toBe(1)
      expect((await gc(repo, '--grace', '12h')).delete.packs).toBe(0)
      expect(await clone.mlvWith(odd, 'push')).toMatchObject({ exitCode: 0, stderr: '' })
      expect(JSON.parse(await ok(repo, 'gc', '-r', '--yes', '--json', '--force', '--grace', '12h')).condemn.packs).toBe(0)
      pass(remote, 1)
      await gc(clone, '--grace', '12h')
      expect(await unreadable(remote, 'remote', await pointedAt(clone.dir))).toEqual([])
    },
  )
})
