import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import type { Blobs } from '../../src/store/blobs.ts'
import { createS3Blobs } from '../../src/transport/s3-blobs.ts'
import type { S3Options } from '../../src/transport/s3-client.ts'
import { type Fault, type FaultRule, type FaultyProxy, startFaultyProxy } from '../helpers/faulty-proxy.ts'
import { OTHER_KEY, startS3 } from '../helpers/s3-server.ts'
import { noise } from '../store/noise.ts'

const s3 = await startS3({ otherUser: true })
const folder = mkdtempSync(join(tmpdir(), 'mlv-s3-direct-'))
const bytes = noise('a pack', 400_000)
let proxy: FaultyProxy
beforeAll(async () => {
  if (s3) proxy = await startFaultyProxy(s3.endpoint)
})
beforeEach(() => void proxy?.clear())
afterEach(() => {
  vi.useRealTimers()
  vi.unstubAllEnvs()
})
afterAll(async () => {
  await proxy?.stop()
  await s3?.stop()
  rmSync(folder, { recursive: true, force: true })
})

/** Large enough to be read with the kept signature. */
const part = (blobs: Blobs, i: number, key = 'a') => blobs.get(key, { start: i * 100_000, end: (i + 1) * 100_000 })
const isPart = (i: number, found: Uint8Array) => bytes.subarray(i * 100_000, (i + 1) * 100_000).equals(found)

describe.skipIf(!s3?.folder)('a signature that is kept', () => {
  const open = (bucket: string, options: Partial<S3Options> = {}) => {
    const { region, accessKeyId, secretAccessKey } = s3!
    const place = { bucket, prefix: '', region, accessKeyId, secretAccessKey, env: {}, ...options }
    return createS3Blobs({ endpoint: proxy.endpoint, ...place })
  }

  async function bucketWithPack(name: string): Promise<string> {
    const bucket = await s3!.bucket(name)
    const blobs = await open(bucket)
    await blobs.put('a', bytes)
    await blobs.put('b', bytes)
    blobs.close?.()
    return bucket
  }

  const authorized =
    (word: string): FaultRule['matches'] =>
    (_method, _path, headers) =>
      headers.authorization?.includes(word) === true

  const ENDED: [string, Fault][] = [
    ['400 ExpiredToken', { kind: 'status', status: 400, name: 'ExpiredToken' }],
    ['403 ExpiredToken', { kind: 'status', status: 403, name: 'ExpiredToken' }],
    ['403 InvalidAccessKeyId', { kind: 'status', status: 403, name: 'InvalidAccessKeyId' }],
    ['403 InvalidToken', { kind: 'status', status: 403, name: 'InvalidToken' }],
  ]

  test.each(ENDED)('by credentials that end (%s): their source is asked once for others', async (_name, fault) => {
    const bucket = await bucketWithPack('ended')
    let asked = 0
    const credentials = async () => {
      const { accessKeyId, secretAccessKey } = asked++ === 0 ? OTHER_KEY : s3!
      return { accessKeyId, secretAccessKey, expiration: new Date(Date.now() + 3_600_000) }
    }
    const blobs = await open(bucket, { accessKeyId: undefined, secretAccessKey: undefined, credentials })
    expect(isPart(0, await part(blobs, 0))).toBe(true)
    proxy.inject({ fault, matches: authorized(`=${OTHER_KEY.accessKeyId}/`) })
    const found = await Promise.all([0, 1, 2, 3].flatMap((i) => [part(blobs, i), part(blobs, i, 'b')]))
    expect(found.every((piece, at) => isPart(at >> 1, piece))).toBe(true)
    expect(await blobs.head('a')).toMatchObject({ size: bytes.length })
    expect(asked).toBe(2)
    blobs.close?.()
  })

  test('by credentials that end and were written anew into the file they came from', async () => {
    const bucket = await bucketWithPack('rewritten')
    const file = join(folder, 'credentials')
    const write = ({ accessKeyId, secretAccessKey }: typeof OTHER_KEY) =>
      writeFileSync(file, `[team]\naws_access_key_id = ${accessKeyId}\naws_secret_access_key = ${secretAccessKey}\n`)
    write(OTHER_KEY)
    vi.stubEnv('AWS_SHARED_CREDENTIALS_FILE', file)
    vi.stubEnv('AWS_CONFIG_FILE', join(folder, 'none'))
    const blobs = await open(bucket, { accessKeyId: undefined, secretAccessKey: undefined, profile: 'team' })
    expect(isPart(0, await part(blobs, 0))).toBe(true)
    write(s3!)
    proxy.inject({
      fault: { kind: 'status', status: 403, name: 'ExpiredToken' },
      matches: authorized(`=${OTHER_KEY.accessKeyId}/`),
    })
    expect(isPart(1, await part(blobs, 1))).toBe(true)
    blobs.close?.()
  })

  test.each(ENDED)('by credentials that end for good (%s): one line says so', async (_name, fault) => {
    const bucket = await bucketWithPack('ended-for-good')
    const blobs = await open(bucket)
    expect(isPart(0, await part(blobs, 0))).toBe(true)
    proxy.inject({ fault })
    const error = await part(blobs, 1).catch((caught) => caught)
    expect(error).toMatchObject({ code: 'REMOTE_DENIED', message: expect.stringContaining((fault as { name: string }).name) })
    expect(error.message).not.toContain('\n')
    // One by the kept signature, one by the client, which has the words.
    expect(proxy.clear()).toBe(2)
    expect(isPart(1, await part(blobs, 1))).toBe(true)
    blobs.close?.()
  })

  test('by credentials that the server denies however often they are renewed: it is asked once more, no longer', async () => {
    const bucket = await bucketWithPack('denied')
    let asked = 0
    // Of a role, whose source gives others each time.
    const credentials = async () => ({ ...s3!, sessionToken: `session ${++asked}`, expiration: new Date(Date.now() + 3_600_000) })
    const blobs = await open(bucket, { accessKeyId: undefined, secretAccessKey: undefined, credentials })
    proxy.inject({ fault: { kind: 'status', status: 403, name: '' }, matches: (method) => method === 'HEAD' })
    await expect(blobs.head('a')).rejects.toMatchObject({ code: 'REMOTE_DENIED' })
    expect([asked, proxy.clear()]).toEqual([2, 2])
    blobs.close?.()
  })

  test.each([-10, 10])('by a clock that turns out to be %i minutes off, for a server that bears less', async (minutes) => {
    const bucket = await bucketWithPack('skewed')
    const blobs = await open(bucket)
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + minutes * 60_000 })
    expect(isPart(0, await part(blobs, 0))).toBe(true)
    const isFar = (_method: string, _path: string, headers: Record<string, unknown>) => {
      const text = String(headers['x-amz-date'])
      const at = Date.parse(text.replace(/^(....)(..)(..)T(..)(..)(..)Z$/, '$1-$2-$3T$4:$5:$6Z'))
      return Math.abs(at - (Date.now() - minutes * 60_000)) > 5 * 60_000
    }
    proxy.inject({
      fault: {
        kind: 'status',
        status: 403,
        name: 'RequestTimeTooSkewed',
        headers: { date: new Date(Date.now() - minutes * 60_000).toUTCString() },
      },
      matches: isFar,
    })
    const found = await Promise.all([1, 2, 3].flatMap((i) => [part(blobs, i), part(blobs, i, 'b')]))
    expect(found.every((piece, at) => isPart((at >> 1) + 1, piece))).toBe(true)
    blobs.close?.()
  })

  const MOVED: [string, Fault][] = [
    ['301', { kind: 'status', status: 301, name: 'PermanentRedirect', headers: { 'x-amz-bucket-region': 'us-east-1' } }],
    ['307', { kind: 'status', status: 307, name: 'TemporaryRedirect', headers: { 'x-amz-bucket-region': 'us-east-1' } }],
    [
      '400',
      { kind: 'status', status: 400, name: 'AuthorizationHeaderMalformed', headers: { 'x-amz-bucket-region': 'us-east-1' } },
    ],
  ]
  test.each(MOVED)("for another region than the bucket's (%s) is made again for that one, once", async (_name, fault) => {
    const bucket = await bucketWithPack('moved')
    const blobs = await open(bucket, { region: 'eu-west-3' })
    proxy.inject({ fault, matches: authorized('/eu-west-3/') })
    const found = await Promise.all([0, 1, 2, 3].flatMap((i) => [part(blobs, i), part(blobs, i, 'b')]))
    expect(found.every((piece, at) => isPart(at >> 1, piece))).toBe(true)
    expect(proxy.clear()).toBeGreaterThan(0)
    proxy.inject({ fault, matches: authorized('/eu-west-3/') })
    expect(isPart(1, await part(blobs, 1))).toBe(true)
    expect(await blobs.put('c', Buffer.from('c'))).toBe('written')
    expect(await blobs.head('c')).toBeDefined()
    expect(proxy.clear()).toBe(0)
    blobs.close?.()
  })

  test('for the wrong region of a server that names its own', async () => {
    const bucket = await bucketWithPack('region')
    const blobs = await open(bucket, { region: 'eu-west-3' })
    const found = await Promise.all([0, 1, 2, 3].map((i) => part(blobs, i)))
    expect(found.every((piece, at) => isPart(at, piece))).toBe(true)
    blobs.close?.()
    const other = await open(bucket, { region: 'eu-west-3' })
    expect(await other.head('a')).toMatchObject({ size: bytes.length })
    expect(await other.head('none')).toBeUndefined()
    other.close?.()
    const third = await open(bucket, { region: 'eu-west-3' })
    expect(await third.put('new', bytes, { ifAbsent: true })).toBe('written')
    third.close?.()
  })

  test('for servers that send each other their clients: one line names the region', async () => {
    const bucket = await bucketWithPack('round')
    const blobs = await open(bucket, { region: 'eu-west-3' })
    for (const [from, to] of [
      ['eu-west-3', 'us-east-1'],
      ['us-east-1', 'eu-west-3'],
    ] as const)
      proxy.inject({
        fault: { kind: 'status', status: 301, name: 'PermanentRedirect', headers: { 'x-amz-bucket-region': to } },
        matches: authorized(`/${from}/`),
      })
    await expect(part(blobs, 0)).rejects.toMatchObject({
      code: 'REMOTE_FAILED',
      message: 'The bucket "round" is in the region eu-west-3',
    })
    blobs.close?.()
  })

  test('for a server that redirects to another one: one line names that', async () => {
    const bucket = await bucketWithPack('elsewhere')
    const blobs = await open(bucket)
    expect(isPart(0, await part(blobs, 0))).toBe(true)
    for (const status of [301, 302, 307, 308]) {
      proxy.inject({ fault: { kind: 'status', status, headers: { location: `https://s3.example.com:9000/${bucket}/a?x=y` } } })
      await expect(part(blobs, 1)).rejects.toMatchObject({
        code: 'REMOTE_FAILED',
        message: `${proxy.endpoint} redirects to https://s3.example.com:9000`,
        hint: expect.stringContaining('mlv remote modify NAME --endpoint https://s3.example.com:9000'),
      })
      proxy.clear()
    }
    blobs.close?.()
  })
})
