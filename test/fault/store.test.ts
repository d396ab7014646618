import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { isOid, type Oid, oidOfBytes } from '../../src/base/oid.ts'
import type { Blobs } from '../../src/store/blobs.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'
import { openStore } from '../../src/store/open-store.ts'
import { applyTransfer, planTransfer, type Wanted } from '../../src/store/transfer.ts'
import { createDirBlobs } from '../../src/transport/dir-blobs.ts'
import { sweep } from '../../src/transport/temporary-files.ts'
import { keysOf } from '../contract/blobs.ts'
import { noise } from '../store/noise.ts'

const MIB = 1 << 20
const folder = mkdtempSync(join(tmpdir(), 'mlv-fault-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const openCache = (name: string) =>
  openStore(createDirBlobs({ root: join(folder, name), trustOids: true }), { role: 'cache', purpose: 'write' })
const openRemote = (blobs: Blobs) => openStore(blobs, { role: 'remote', purpose: 'write' })

async function isWhole(store: ObjectStore, oid: Oid): Promise<boolean> {
  const pieces: Buffer[] = []
  for await (const piece of store.stream(oid)) pieces.push(piece)
  return oidOfBytes(Buffer.concat(pieces)) === oid
}

/** Whatever counts as stored can be read; all packs, indexes and whole objects are what their names say. */
async function expectSound(name: string, wanted: readonly Oid[], role: 'cache' | 'remote'): Promise<number> {
  const blobs = createDirBlobs({ root: join(folder, name) })
  for (const prefix of ['packs/', 'index/', 'objects/'])
    for (const key of await keysOf(blobs, prefix)) {
      const named = key.slice(key.lastIndexOf('/') + 1).slice(0, 64)
      expect(isOid(named)).toBe(true)
      expect(oidOfBytes(await blobs.get(key))).toBe(named)
    }
  const store = await openStore(blobs, { role, purpose: 'read' })
  const present = wanted.filter((oid) => store.has(oid))
  for (const oid of present) expect(await isWhole(store, oid)).toBe(true)
  return present.length
}

describe('a writer that stops after any of its requests', () => {
  /** A real place whose client dies after `writes` writes. */
  function dying(blobs: Blobs, writes: number): Blobs {
    let left = writes
    const live = () => {
      if (left < 0) throw new Error('the process is dead')
    }
    return {
      ...blobs,
      get: async (key, options) => {
        live()
        return blobs.get(key, options)
      },
      put: async (key, bytes, options) => {
        left--
        live()
        return blobs.put(key, bytes, options)
      },
    }
  }

  test('leaves a store that is sound, and the next one finishes the work', async () => {
    const cache = await openCache('source')
    // Two packs of chunks and one of small objects.
    const contents = [...Array.from({ length: 50 }, (_, i) => Buffer.from(`small ${i}`)), noise('large', 34 * MIB)]
    const writer = cache.writer()
    for (const bytes of contents) {
      if (bytes.length < MIB) await writer.add(oidOfBytes(bytes), bytes)
      else
        await cache.loose!.storeStream(
          oidOfBytes(bytes),
          (async function* () {
            yield bytes
          })(),
        )
    }
    await writer.finish()
    const wanted: Wanted[] = contents.map((bytes) => ({ oid: oidOfBytes(bytes), size: bytes.length }))
    const oids = wanted.map(({ oid }) => oid)

    let finished = false
    for (let writes = 0; !finished; writes++) {
      const name = `remote ${writes}`
      const blobs = createDirBlobs({ root: join(folder, name) })
      try {
        const remote = await openRemote(dying(blobs, writes))
        await applyTransfer(planTransfer(cache, remote, wanted), cache, remote)
        finished = true
      } catch (error) {
        expect((error as Error).message).toBe('the process is dead')
      }
      const present = await expectSound(name, oids, 'remote')
      expect(present).toBe(finished ? oids.length : 0)
      const remote = await openRemote(blobs)
      await applyTransfer(planTransfer(cache, remote, wanted), cache, remote)
      expect(await expectSound(name, oids, 'remote')).toBe(oids.length)
      rmSync(join(folder, name), { recursive: true })
      expect(writes).toBeLessThan(20)
    }
  })
})

describe('kill -9', () => {
  const program = join(folder, 'writer.mjs')
  beforeAll(async () => {
    const source = fileURLToPath(new URL('./store-writer-process.ts', import.meta.url))
    await build({ entryPoints: [source], bundle: true, format: 'esm', platform: 'node', outfile: program, logLevel: 'error' })
  })

  async function output(argument: string): Promise<string> {
    const child = spawn(process.execPath, [program, argument], { stdio: ['ignore', 'pipe', 'inherit'] })
    return (await child.stdout.toArray()).join('')
  }

  /** Runs the writer until it ends or, `delay` ms after its first sign of life, is killed. */
  async function run(root: string, delay?: number): Promise<boolean> {
    const child = spawn(process.execPath, [program, root], { stdio: ['ignore', 'pipe', 'inherit'] })
    const ended = new Promise<number | null>((resolve) => child.on('exit', resolve))
    if (delay !== undefined) {
      await Promise.race([new Promise((resolve) => child.stdout.once('data', resolve)), ended])
      await sleep(delay)
      child.kill('SIGKILL')
    }
    child.stdout.resume()
    return (await ended) === 0
  }

  test('at any time leaves a sound cache, leftovers in tmp/ alone, and work that can be done again', async () => {
    const contents = JSON.parse(await output('list')) as Oid[]
    for (const delay of [0, 10, 30, 70, 150]) {
      const name = `killed after ${delay}`
      await run(join(folder, name), delay)
      await expectSound(name, contents, 'cache')
      expect(await run(join(folder, name))).toBe(true)
      expect(await expectSound(name, contents, 'cache')).toBe(contents.length)
      const objects = join(folder, name, 'objects')
      for (const fan of readdirSync(objects))
        for (const object of readdirSync(join(objects, fan)))
          expect(statSync(join(objects, fan, object)).mode & 0o777).toBe(0o444)
      rmSync(join(folder, name), { recursive: true })
    }
  })
})

describe('leftovers', () => {
  test('of a killed writer are swept a day later, by the next one', async () => {
    const root = join(folder, 'leftovers')
    const store = await openCache('leftovers')
    const left = join(root, 'tmp', 'object-left')
    writeFileSync(left, 'half')
    const later = await openCache('leftovers')
    const writer = later.writer()
    await writer.add(oidOfBytes('x'), Buffer.from('x'))
    await writer.finish()
    expect(readFileSync(left, 'utf8')).toBe('half')
    // Nobody can set the time of a file's last change: it is the clock that goes on.
    sweep(join(root, 'tmp'), Date.now() + 25 * 3600_000)
    expect(existsSync(left)).toBe(false)
    store.close()
  })
})
