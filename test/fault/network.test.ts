import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { type Oid, oidOfBytes } from '../../src/base/oid.ts'
import { createRate } from '../../src/base/rate.ts'
import type { ObjectStore } from '../../src/store/object-store.ts'
import { openStore } from '../../src/store/open-store.ts'
import { applyTransfer, planTransfer, type Wanted } from '../../src/store/transfer.ts'
import { createDirBlobs } from '../../src/transport/dir-blobs.ts'
import { createS3Blobs } from '../../src/transport/s3-blobs.ts'
import type { S3Options } from '../../src/transport/s3-client.ts'
import {
  type Fault,
  type FaultRule,
  type FaultyProxy,
  isDownload,
  isListing,
  isUpload,
  startFaultyProxy,
} from '../helpers/faulty-proxy.ts'
import { startS3 } from '../helpers/s3-server.ts'
import { noise } from '../store/noise.ts'

const MIB = 1 << 20
/** Where a server falls silent on purpose; elsewhere a busy one may take its time. */
const idleTimeout = (fault: Fault): Partial<S3Options> => (fault.kind.startsWith('stall') ? { idleTimeout: 3000 } : {})

const s3 = await startS3()
const folder = mkdtempSync(join(tmpdir(), 'mlv-network-'))
let proxy: FaultyProxy
beforeAll(async () => {
  if (s3) proxy = await startFaultyProxy(s3.endpoint)
})
afterAll(async () => {
  await proxy?.stop()
  await s3?.stop()
  rmSync(folder, { recursive: true, force: true })
})

beforeEach(() => void proxy?.clear())

describe.skipIf(!s3)('between mlv and a real S3 server', () => {
  // Packs that travel as they are, packs made anew, and chunks.
  const contents = [
    ...Array.from({ length: 60 }, (_, i) => Buffer.from(`small ${i}`)),
    ...Array.from({ length: 9 }, (_, i) => noise(`middle ${i}`, MIB - 1)),
    noise('large', 17 * MIB),
  ]
  const wanted: Wanted[] = contents.map((bytes) => ({ oid: oidOfBytes(bytes), size: bytes.length }))
  let source: ObjectStore
  let places = 0

  const openCache = () =>
    openStore(createDirBlobs({ root: join(folder, `cache ${++places}`), trustOids: true }), { role: 'cache', purpose: 'write' })

  async function openRemote(
    bucket: string,
    options: Partial<S3Options> = {},
    purpose: 'read' | 'write' = 'write',
  ): Promise<ObjectStore> {
    const { region, accessKeyId, secretAccessKey } = s3!
    const place = { bucket, prefix: 'p', region, accessKeyId, secretAccessKey, env: {}, ...options }
    const blobs = await createS3Blobs({ endpoint: proxy.endpoint, ...place })
    return openStore(blobs, { role: 'remote', purpose })
  }

  const send = (from: ObjectStore, to: ObjectStore) => applyTransfer(planTransfer(from, to, wanted), from, to)

  async function isWhole(store: ObjectStore, oid: Oid): Promise<boolean> {
    const pieces: Buffer[] = []
    for await (const piece of store.stream(oid)) pieces.push(piece)
    return oidOfBytes(Buffer.concat(pieces)) === oid
  }

  /** What counts as present is whole, seen without the proxy. */
  async function presentAndWhole(bucket: string): Promise<number> {
    const remote = await openRemote(bucket, { endpoint: s3!.endpoint })
    const present = wanted.filter(({ oid }) => remote.has(oid))
    for (const { oid } of present) expect(await isWhole(remote, oid)).toBe(true)
    return present.length
  }

  beforeAll(async () => {
    source = await openCache()
    const writer = source.writer()
    for (const bytes of contents) if (bytes.length < MIB) await writer.add(oidOfBytes(bytes), bytes)
    await writer.finish()
    const large = contents.at(-1)!
    await source.loose!.storeStream(
      oidOfBytes(large),
      (async function* () {
        yield large
      })(),
    )
    source.loose!.flush()
  })

  const PASSING: [string, Fault][] = [
    ['500', { kind: 'status', status: 500 }],
    ['503 SlowDown', { kind: 'status', status: 503, name: 'SlowDown' }],
    ['429', { kind: 'status', status: 429, name: 'TooManyRequests', headers: { 'retry-after': '0' } }],
    ['400 RequestTimeout', { kind: 'status', status: 400, name: 'RequestTimeout' }],
    ['a reset before the answer', { kind: 'reset', bytes: 0 }],
    ['a reset in the answer', { kind: 'reset', bytes: 100 }],
    ['an answer cut short', { kind: 'truncate', bytes: 100 }],
    ['a server that does not answer', { kind: 'stall' }],
    ['an answer that stops', { kind: 'stallBody', bytes: 100 }],
    ['an answer that is lost', { kind: 'lose' }],
  ]

  test.each(PASSING)('a push survives %s, now and then', async (_name, fault) => {
    const bucket = await s3!.bucket(`push-${++places}`)
    for (const after of [0, 2, 4]) proxy.inject({ fault, times: 1, after })
    expect(await send(source, await openRemote(bucket, idleTimeout(fault)))).toMatchObject({ objects: wanted.length, failed: [] })
    expect(proxy.clear()).toBe(3)
    expect(await presentAndWhole(bucket)).toBe(wanted.length)
  })

  test.each([...PASSING, ['a bit that is flipped on the way', { kind: 'flip', at: 5000 } as Fault] as [string, Fault]])(
    'a pull survives %s, now and then',
    async (_name, fault) => {
      const bucket = await s3!.bucket(`pull-${++places}`)
      await send(source, await openRemote(bucket))
      proxy.clear()
      const matches: FaultRule['matches'] =
        fault.kind === 'flip' ? (method, path) => isDownload(method, path) && path.includes('/packs/') : undefined
      for (const after of fault.kind === 'flip' ? [0, 5, 10] : [0, 2, 4]) proxy.inject({ fault, times: 1, after, matches })
      const cache = await openCache()
      const remote = await openRemote(bucket, idleTimeout(fault), 'read')
      expect(await send(remote, cache)).toMatchObject({ objects: wanted.length, failed: [] })
      expect(proxy.clear()).toBeGreaterThan(0)
      for (const { oid } of wanted) expect(await isWhole(cache, oid)).toBe(true)
    },
  )

  test('a server that is ill before it ever answered gets as many tries as any other', async () => {
    const bucket = await s3!.bucket('ill-at-first')
    proxy.inject({ fault: { kind: 'status', status: 500 }, times: 4 })
    expect(await send(source, await openRemote(bucket))).toMatchObject({ objects: wanted.length, failed: [] })
    expect(proxy.clear()).toBe(4)
  })

  test('a bit that is flipped in what the remote says of itself: it is read again', async () => {
    const bucket = await s3!.bucket('flip-description')
    await send(source, await openRemote(bucket))
    const { description } = await openRemote(bucket)
    const isDescription: FaultRule['matches'] = (method, path) => isDownload(method, path) && path.includes('/mlv.json')
    // In a brace, in a key's name, in the id, in a number.
    for (const at of [0, 5, 15, 30, 60, 100, 150, 200]) {
      proxy.inject({ fault: { kind: 'flip', at }, times: 1, matches: isDescription })
      expect((await openRemote(bucket)).description).toEqual(description)
      expect(proxy.clear()).toBe(1)
    }
    proxy.inject({ fault: { kind: 'flip', at: 0 }, matches: isDescription })
    const error = await openRemote(bucket, { env: { AWS_MAX_ATTEMPTS: '2' } }).catch((caught) => caught)
    expect(error).toMatchObject({
      code: expect.stringMatching(/^(STORE_INVALID|REMOTE_FAILED)$/),
      hint: expect.stringMatching(/./),
    })
    expect(error.message).not.toContain('\n')
    proxy.clear()
  })

  test('a bit that is flipped on the way up is refused by the server, and sent again', async () => {
    const bucket = await s3!.bucket('flip-up')
    for (const after of [1, 2]) proxy.inject({ fault: { kind: 'flipSent', at: 1000 }, times: 1, after, matches: isUpload })
    expect(await send(source, await openRemote(bucket))).toMatchObject({ objects: wanted.length })
    expect(proxy.clear()).toBe(2)
    expect(await presentAndWhole(bucket)).toBe(wanted.length)
  })

  test('packs whose bytes are always wrong on the way down: what cannot be had is named, and nothing wrong is stored', async () => {
    const bucket = await s3!.bucket('flip-down')
    await send(source, await openRemote(bucket))
    proxy.clear()
    const remote = await openRemote(bucket, {}, 'read')
    proxy.inject({
      fault: { kind: 'flip', at: 5000 },
      matches: (method, path) => isDownload(method, path) && path.includes('/packs/'),
    })
    const cache = await openCache()
    const done = await send(remote, cache)
    expect(done.failed.length).toBeGreaterThan(0)
    for (const { error } of done.failed) expect(error).toMatchObject({ code: 'OBJECT_CORRUPT', hint: expect.any(String) })
    expect(done.objects + done.failed.length).toBe(wanted.length)
    proxy.clear()
    for (const { oid } of wanted) if (cache.has(oid)) expect(await isWhole(cache, oid)).toBe(true)
    // The network is well again. What was always wrong counts as damaged there: the next push sends it again.
    await send(source, await openRemote(bucket))
    expect(await send(await openRemote(bucket, {}, 'read'), cache)).toMatchObject({ failed: [] })
    for (const { oid } of wanted) expect(await isWhole(cache, oid)).toBe(true)
  })

  describe('an object that is hashed as a whole', () => {
    const size = 66 * MIB
    const huge = noise('huge', size)
    const item = { oid: oidOfBytes(huge), size }
    const isPack = (method: string, path: string) => isDownload(method, path) && path.includes('/packs/')

    async function pushHuge(bucket: string, options: Partial<S3Options> = {}): Promise<ObjectStore> {
      const cache = await openCache()
      const pieces = async function* () {
        yield huge
      }
      await cache.loose!.storeStream(item.oid, pieces())
      const remote = await openRemote(bucket)
      await applyTransfer(planTransfer(cache, remote, [item]), cache, remote)
      return openRemote(bucket, options, 'read')
    }

    const pull = (remote: ObjectStore, cache: ObjectStore) => applyTransfer(planTransfer(remote, cache, [item]), remote, cache)

    test('and proves wrong comes whole, the wrong part alone a second time', async () => {
      const remote = await pushHuge(await s3!.bucket('huge'))
      const cache = await openCache()
      proxy.clear()
      proxy.bytes.received = 0
      proxy.inject({ fault: { kind: 'flip', at: 3 * MIB }, times: 1, after: 4, matches: isPack })
      expect(await pull(remote, cache)).toMatchObject({ objects: 1, failed: [] })
      expect(proxy.clear()).toBe(1)
      expect(await isWhole(cache, item.oid)).toBe(true)
      expect(proxy.bytes.received).toBeLessThan(size + 12 * MIB)
    })

    test('survives answers that break off, other parts than asked for, and lines that end', async () => {
      const remote = await pushHuge(await s3!.bucket('huge-2'), idleTimeout({ kind: 'stallBody', bytes: 0 }))
      const cache = await openCache()
      proxy.clear()
      for (const [after, fault] of (
        [
          { kind: 'truncate', bytes: 100_000 },
          { kind: 'reset', bytes: 2 * MIB },
          { kind: 'stallBody', bytes: MIB },
          { kind: 'lose' },
          { kind: 'status', status: 503, name: 'SlowDown' },
        ] as Fault[]
      ).entries())
        proxy.inject({ fault, times: 1, after, matches: isPack })
      expect(await pull(remote, cache)).toMatchObject({ objects: 1, failed: [] })
      expect(proxy.clear()).toBe(5)
      expect(await isWhole(cache, item.oid)).toBe(true)
    })

    test('and is always wrong is named, and not stored', async () => {
      const remote = await pushHuge(await s3!.bucket('huge-3'))
      const cache = await openCache()
      proxy.inject({ fault: { kind: 'flip', at: 3 * MIB }, matches: isPack })
      const { objects, failed } = await pull(remote, cache)
      expect(objects).toBe(0)
      expect(failed).toMatchObject([{ oid: item.oid, error: { code: 'OBJECT_CORRUPT' } }])
      expect(cache.has(item.oid)).toBe(false)
      expect(cache.loose!.list()).toEqual([])
    })
  })

  const LASTING: [string, Fault, string, RegExp][] = [
    ['500', { kind: 'status', status: 500 }, 'REMOTE_FAILED', /answered 500/],
    ['503', { kind: 'status', status: 503, name: 'SlowDown' }, 'REMOTE_FAILED', /answered 503 SlowDown/],
    ['429', { kind: 'status', status: 429, name: 'TooManyRequests' }, 'REMOTE_FAILED', /answered 429/],
    ['403', { kind: 'status', status: 403, name: 'AccessDenied' }, 'REMOTE_DENIED', /denied access/],
    ['resets', { kind: 'lose' }, 'REMOTE_UNREACHABLE', /cannot be reached/],
    ['silence', { kind: 'stall' }, 'REMOTE_UNREACHABLE', /no answer in time|ETIMEDOUT|ECONNRESET/],
    ['credentials that have ended', { kind: 'status', status: 400, name: 'ExpiredToken' }, 'REMOTE_DENIED', /ExpiredToken/],
  ]

  test.each(LASTING)(
    'a push that meets %s to its end says so in one line, and the next one goes on',
    async (_name, fault, code, words) => {
      const bucket = await s3!.bucket(`lasting-${++places}`)
      const remote = await openRemote(bucket, { env: { AWS_MAX_ATTEMPTS: '2' }, ...idleTimeout(fault) })
      proxy.clear()
      proxy.inject({ fault, after: 1 })
      const error = await send(source, remote).catch((caught) => caught)
      expect(error).toMatchObject({ code, message: expect.stringMatching(words), hint: expect.stringMatching(/./) })
      expect(error.message).not.toContain('\n')
      expect(proxy.clear()).toBeGreaterThan(0)
      await presentAndWhole(bucket)
      await send(source, await openRemote(bucket))
      expect(await presentAndWhole(bucket)).toBe(wanted.length)
    },
  )

  test('a stale listing makes a push send again what is there, and loses nothing', async () => {
    const bucket = await s3!.bucket('stale')
    await openRemote(bucket)
    await send(source, await openRemote(bucket))
    proxy.clear()
    proxy.inject({ fault: { kind: 'stale' }, matches: isListing })
    const late = await openRemote(bucket)
    expect(wanted.some(({ oid }) => late.has(oid))).toBe(false)
    expect(await send(source, late)).toMatchObject({ objects: wanted.length, failed: [] })
    expect(proxy.clear()).toBeGreaterThan(0)
    expect(await presentAndWhole(bucket)).toBe(wanted.length)
  })

  test('a server that is overloaded gets fewer requests at once', async () => {
    const bucket = await s3!.bucket('overload')
    const remote = await openRemote(bucket)
    await Promise.all(Array.from({ length: 40 }, (_, i) => remote.blobs.put(`x${i}`, Buffer.from('x'))))
    proxy.clear()
    // Longer than it takes to sign as many requests as go out at once.
    const slow = { fault: { kind: 'slow', ms: 500 } as Fault }
    proxy.inject(slow)
    await Promise.all(Array.from({ length: 40 }, (_, i) => remote.blobs.get(`x${i}`)))
    const before = proxy.busiest()
    proxy.clear()
    proxy.inject({ fault: { kind: 'status', status: 503, name: 'SlowDown' }, times: 1 })
    await remote.blobs.get('x0')
    proxy.clear()
    proxy.inject(slow)
    await Promise.all(Array.from({ length: 10 }, (_, i) => remote.blobs.get(`x${i}`)))
    expect(proxy.busiest()).toBeLessThan(before)
    proxy.clear()
  })

  test('credentials that end in the middle are asked for anew', async () => {
    const bucket = await s3!.bucket('expiring')
    const { accessKeyId, secretAccessKey } = s3!
    let asked = 0
    const credentials = async () => ({
      ...{ accessKeyId, secretAccessKey, sessionToken: asked++ === 0 ? 'old' : undefined },
      expiration: new Date(Date.now() + 3_600_000),
    })
    const ended = (_method: string, _path: string, headers: Record<string, unknown>) => headers['x-amz-security-token'] === 'old'
    proxy.inject({ fault: { kind: 'status', status: 400, name: 'ExpiredToken' }, matches: ended })
    const remote = await openRemote(bucket, { accessKeyId: undefined, secretAccessKey: undefined, credentials })
    expect(await send(source, remote)).toMatchObject({ objects: wanted.length, failed: [] })
    expect(asked).toBe(2)
    proxy.clear()
    expect(await presentAndWhole(bucket)).toBe(wanted.length)
  })

  test('credentials that end in the middle of a pull and stay ended: one line says so, and the next pull goes on', async () => {
    const bucket = await s3!.bucket('ended-pull')
    await send(source, await openRemote(bucket))
    const isPack: FaultRule['matches'] = (method, path) => isDownload(method, path) && path.includes('/packs/')
    const cache = await openCache()
    const ended: Fault = { kind: 'status', status: 403, name: 'InvalidAccessKeyId' }
    const remote = await openRemote(bucket, {}, 'read')
    proxy.inject({ fault: ended, after: 4, matches: isPack })
    const error = await send(remote, cache).catch((caught) => caught)
    expect(error).toMatchObject({
      code: 'REMOTE_DENIED',
      message: expect.stringContaining('InvalidAccessKeyId'),
      hint: expect.stringContaining('check the credentials'),
    })
    expect(error.message).not.toContain('\n')
    expect(proxy.clear()).toBeGreaterThan(0)
    const before = wanted.filter(({ oid }) => cache.has(oid)).length
    expect(before).toBeLessThan(wanted.length)
    expect(await send(await openRemote(bucket, {}, 'read'), cache)).toMatchObject({
      objects: wanted.length - before,
      failed: [],
    })
    for (const { oid } of wanted) expect(await isWhole(cache, oid)).toBe(true)
  })

  describe('a server that', () => {
    const header = (name: string) => (_method: string, _path: string, headers: Record<string, unknown>) =>
      headers[name] !== undefined
    const refusal: Fault = { kind: 'status', status: 501, name: 'NotImplemented' }

    test('has no conditional writes: mlv looks before it writes, and says so once', async () => {
      const bucket = await s3!.bucket('no-conditions')
      const said: string[] = []
      proxy.inject({ fault: refusal, matches: header('if-none-match') })
      const remote = await openRemote(bucket, { warn: (line) => said.push(line) })
      expect(await remote.blobs.put('a', Buffer.from('1'), { ifAbsent: true })).toBe('written')
      expect(await remote.blobs.put('a', Buffer.from('2'), { ifAbsent: true })).toBe('present')
      expect(Buffer.from(await remote.blobs.get('a')).toString()).toBe('1')
      expect(await send(source, remote)).toMatchObject({ objects: wanted.length })
      expect(said).toEqual([expect.stringContaining('no conditional writes')])
      proxy.clear()
      expect(await presentAndWhole(bucket)).toBe(wanted.length)
    })

    test('refuses SHA-256 checksums: uploads are checked by MD5, and it is said once', async () => {
      const bucket = await s3!.bucket('no-sha256')
      const said: string[] = []
      proxy.inject({ fault: refusal, matches: header('x-amz-checksum-sha256') })
      const remote = await openRemote(bucket, { warn: (line) => said.push(line) })
      expect(await send(source, remote)).toMatchObject({ objects: wanted.length })
      expect(said).toEqual([expect.stringContaining('MD5')])
      proxy.clear()
      proxy.inject({ fault: { kind: 'flipSent', at: 0 }, times: 1, matches: isUpload })
      expect(await remote.blobs.put('b', Buffer.from('bytes'))).toBe('written')
      expect(Buffer.from(await remote.blobs.get('b')).toString()).toBe('bytes')
      proxy.clear()
      expect(await presentAndWhole(bucket)).toBe(wanted.length)
    })
  })

  test('a limited rate is kept, up and down', async () => {
    const bucket = await s3!.bucket('rate')
    const rate = createRate(2 * MIB)
    const remote = await openRemote(bucket, { rate })
    const bytes = noise('rate', MIB)
    const started = performance.now()
    await Promise.all([remote.blobs.put('a', bytes), remote.blobs.put('b', bytes)])
    const sent = performance.now() - started
    expect(sent).toBeGreaterThan(900)
    expect(bytes.equals(await remote.blobs.get('a'))).toBe(true)
    expect(performance.now() - started - sent).toBeGreaterThan(400)
  })
})
