import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { type AddressInfo, createServer as createLine } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { build } from 'esbuild'
import { afterAll, afterEach, describe, expect, test, vi } from 'vitest'
import { createS3Blobs } from '../../src/transport/s3-blobs.ts'
import type { S3Options } from '../../src/transport/s3-client.ts'
import { blobsContract, keysOf } from '../contract/blobs.ts'
import { openFaultyLine } from '../helpers/faulty-line.ts'
import { startS3 } from '../helpers/s3-server.ts'

const s3 = await startS3()
const folder = mkdtempSync(join(tmpdir(), 'mlv-s3-blobs-'))
afterAll(async () => {
  await s3?.stop()
  rmSync(folder, { recursive: true, force: true })
})
afterEach(() => vi.unstubAllEnvs())

/** The real server, reached with its own keys unless told otherwise. */
const open = (options: Partial<S3Options>) => {
  const { endpoint, region, accessKeyId, secretAccessKey } = s3!
  return createS3Blobs({ bucket: 'mlv-test', prefix: '', endpoint, region, accessKeyId, secretAccessKey, env: {}, ...options })
}
const withoutKeys = { accessKeyId: undefined, secretAccessKey: undefined }

describe.skipIf(!s3)('on a real S3 server', () => {
  let made = 0
  blobsContract('a bucket', async () => open({ bucket: await s3!.bucket(`whole-${++made}`) }))
  blobsContract('a prefix of a bucket', async () =>
    open({ bucket: await s3!.bucket('shared'), prefix: `/deep/prefix ${++made}/` }),
  )

  test('two prefixes of one bucket do not see each other', async () => {
    const bucket = await s3!.bucket('neighbours')
    const [a, ab] = [await open({ bucket, prefix: 'a' }), await open({ bucket, prefix: 'ab' })]
    await a.put('x', Buffer.from('1'))
    await ab.put('y', Buffer.from('2'))
    expect(await keysOf(a, '')).toEqual(['x'])
    expect(a.url).toBe(`s3://${bucket}/a`)
  })

  test.each(['sha256', 'md5', 'none'] as const)(
    'the checksum mode %s refuses altered bytes and takes whole ones',
    async (checksum) => {
      const blobs = await open({ bucket: await s3!.bucket(`sum-${checksum}`), checksum })
      const oid = '0'.repeat(64) as never
      await expect(blobs.put('a', Buffer.from('bytes'), { oid })).rejects.toMatchObject({ code: 'OBJECT_CORRUPT' })
      expect(await blobs.head('a')).toBeUndefined()
      expect(await blobs.put('a', Buffer.from('bytes'))).toBe('written')
    },
  )

  test('a bucket that does not exist is named, with the command or key to mend, by every call', async () => {
    const blobs = await open({ bucket: 'no-such-bucket' })
    const expected = {
      code: 'REMOTE_FAILED',
      message: expect.stringContaining('"no-such-bucket"'),
      hint: expect.stringContaining('Create'),
    }
    await expect(blobs.get('a')).rejects.toMatchObject(expected)
    await expect(blobs.put('a', Buffer.from('1'))).rejects.toMatchObject(expected)
    await expect(blobs.put('a', Buffer.from('1'), { ifAbsent: true })).rejects.toMatchObject(expected)
    await expect(blobs.head('a')).rejects.toMatchObject(expected)
    await expect(keysOf(blobs, '')).rejects.toMatchObject(expected)
  })

  test('a wrong secret and an unknown key are denied, and no secret gets into the words', async () => {
    const bucket = await s3!.bucket('denied')
    for (const keys of [{ secretAccessKey: 'wrong-secret' }, { accessKeyId: 'unknown-key' }]) {
      const blobs = await open({ bucket, ...keys })
      const failure = await blobs.get('a').catch((error) => error)
      expect(failure).toMatchObject({ code: 'REMOTE_DENIED', hint: expect.stringContaining('check the credentials') })
      expect(failure.message + failure.hint).not.toContain('wrong-secret')
      await expect(blobs.put('a', Buffer.from('1'))).rejects.toMatchObject({ code: 'REMOTE_DENIED' })
      await expect(keysOf(blobs, '')).rejects.toMatchObject({ code: 'REMOTE_DENIED' })
    }
  })

  describe('credentials', () => {
    const isolate = () => {
      for (const name of ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN', 'AWS_PROFILE'])
        vi.stubEnv(name, undefined)
      vi.stubEnv('AWS_EC2_METADATA_DISABLED', 'true')
      vi.stubEnv('AWS_CONFIG_FILE', join(folder, 'no-config'))
      vi.stubEnv('AWS_SHARED_CREDENTIALS_FILE', join(folder, 'credentials'))
      writeFileSync(
        join(folder, 'credentials'),
        `[default]\naws_access_key_id = nobody\naws_secret_access_key = nothing\n[team]\naws_access_key_id = ${s3!.accessKeyId}\naws_secret_access_key = ${s3!.secretAccessKey}\n`,
      )
    }

    test('come from the environment', async () => {
      isolate()
      const env = { AWS_ACCESS_KEY_ID: s3!.accessKeyId, AWS_SECRET_ACCESS_KEY: s3!.secretAccessKey }
      const blobs = await open({ bucket: await s3!.bucket('from-env'), ...withoutKeys, env })
      expect(await blobs.put('a', Buffer.from('1'))).toBe('written')
    })

    test('come from the profile that is named, before the environment', async () => {
      isolate()
      vi.stubEnv('AWS_ACCESS_KEY_ID', 'nobody')
      vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'nothing')
      const env = { AWS_ACCESS_KEY_ID: 'nobody', AWS_SECRET_ACCESS_KEY: 'nothing' }
      const blobs = await open({ bucket: await s3!.bucket('from-profile'), ...withoutKeys, profile: 'team', env })
      expect(await blobs.put('a', Buffer.from('1'))).toBe('written')
    })

    test('that are nowhere: says which sources were tried', async () => {
      isolate()
      const blobs = await open({ ...withoutKeys, profile: 'typo' })
      await expect(blobs.get('a')).rejects.toMatchObject({
        code: 'REMOTE_DENIED',
        message: expect.stringMatching(/credentials and .*config \(profile "typo".*web identity, container, instance metadata/),
        hint: expect.stringMatching(/^Run "aws configure" or "aws sso login" with --profile typo, /),
      })
      vi.stubEnv('AWS_SHARED_CREDENTIALS_FILE', join(folder, 'none'))
    })
  })

  describe('over a bad network', () => {
    const bytes = Buffer.alloc(1 << 20, 'm')

    test('answers that break off are asked for again', async () => {
      const line = await openFaultyLine(s3!.endpoint)
      const blobs = await open({ bucket: await s3!.bucket('broken'), endpoint: line.url })
      await blobs.put('a', bytes)
      for (const isReset of [false, true])
        for (const after of [0, 10, 300, 100_000, bytes.length]) {
          line.breakAfter(after, 2, isReset)
          expect(bytes.equals(await blobs.get('a'))).toBe(true)
          expect(line.broken()).toBe(2)
        }
      await line.stop()
    })

    test('answers that always break off fail in the end, and say how far they came', async () => {
      const line = await openFaultyLine(s3!.endpoint)
      const env = { AWS_MAX_ATTEMPTS: '3' }
      const blobs = await open({ bucket: await s3!.bucket('broken'), endpoint: line.url, env })
      await blobs.put('a', bytes)
      line.breakAfter(100_000, 1000)
      await expect(blobs.get('a')).rejects.toMatchObject({
        code: 'REMOTE_FAILED',
        message: expect.stringMatching(/broke off.*broken\/a.* of 1048576 bytes/),
      })
      await line.stop()
    })

    test('an upload whose answer was lost is sent again', async () => {
      const line = await openFaultyLine(s3!.endpoint)
      const blobs = await open({ bucket: await s3!.bucket('lost'), endpoint: line.url })
      line.breakAfter(0, 2, true)
      expect(await blobs.put('a', bytes)).toBe('written')
      for (const [key, body] of [
        ['large', bytes],
        ['small', bytes.subarray(0, 1000)],
        ['middle', bytes.subarray(0, 900_000)],
      ] as const) {
        line.breakAfter(0, 1, true)
        expect(['written', 'present']).toContain(await blobs.put(key, body, { ifAbsent: true }))
        expect(body.equals(await blobs.get(key))).toBe(true)
      }
      await line.stop()
    })

    test('a server that hangs up on an upload it does not want has the blob', async () => {
      const line = await openFaultyLine(s3!.endpoint)
      const env = { AWS_MAX_ATTEMPTS: '3' }
      const blobs = await open({ bucket: await s3!.bucket('hang-up'), endpoint: line.url, env })
      const body = bytes.subarray(0, 900_000)
      await blobs.put('a', body)
      // The server hangs up by itself or the line does it: the upload's answer is lost each time, that of the question after it is not.
      line.breakAfter(0, 2, true)
      expect(await blobs.put('a', body, { ifAbsent: true })).toBe('present')
      line.breakAfter(0, 1000, true)
      await expect(blobs.put('b', body)).rejects.toMatchObject({ code: 'REMOTE_UNREACHABLE' })
      await line.stop()
    })

    test('no server, and no such host, are named', async () => {
      const line = await openFaultyLine(s3!.endpoint)
      await line.stop()
      const nobody = await open({ endpoint: line.url })
      await expect(nobody.get('a')).rejects.toMatchObject({
        code: 'REMOTE_UNREACHABLE',
        message: expect.stringContaining(line.url),
      })
      const nowhere = await open({ endpoint: 'http://no-such-host.invalid' })
      await expect(nowhere.put('a', bytes)).rejects.toMatchObject({
        code: 'REMOTE_UNREACHABLE',
        message: expect.stringContaining('no-such-host.invalid'),
      })
    })
  })

  test('a login page that answers in place of the server is not taken for one', async () => {
    const portal = createServer((request, response) => {
      request.resume()
      response.writeHead(200, { 'content-type': 'text/html' }).end('<html><body>Log in & go on</body></html>')
    })
    await new Promise<void>((resolve) => portal.listen(0, '127.0.0.1', resolve))
    const blobs = await open({ endpoint: `http://127.0.0.1:${(portal.address() as { port: number }).port}` })
    const expected = { code: 'REMOTE_FAILED', message: expect.stringContaining('does not answer like an S3 server') }
    await expect(blobs.get('a')).rejects.toMatchObject(expected)
    await expect(blobs.put('a', Buffer.from('1'))).rejects.toMatchObject(expected)
    await expect(blobs.put('a', Buffer.from('1'), { ifAbsent: true })).rejects.toMatchObject(expected)
    await expect(blobs.head('a')).rejects.toMatchObject(expected)
    await expect(keysOf(blobs, '')).rejects.toMatchObject(expected)
    portal.close().closeAllConnections()
  })

  test.each([
    ['a head without end', `HTTP/1.1 206 X\r\nx: ${'y'.repeat(80_000)}`],
    ['a length that is none', 'HTTP/1.1 206 X\r\ncontent-length: -5\r\n\r\n'],
    ['no HTTP', 'SSH-2.0-OpenSSH_9.6\r\n\r\n'],
  ])('%s is an answer of no S3 server', async (_, text) => {
    const stranger = createLine((socket) => {
      socket.on('error', () => {})
      socket.on('data', () => socket.write(text))
    })
    await new Promise<void>((resolve) => stranger.listen(0, '127.0.0.1', resolve))
    const endpoint = `http://127.0.0.1:${(stranger.address() as AddressInfo).port}`
    const blobs = await open({ endpoint, env: { AWS_MAX_ATTEMPTS: '2' } })
    const expected = { code: 'REMOTE_FAILED', message: expect.stringContaining('does not answer like an S3 server') }
    await expect(blobs.get('a', { start: 0, end: 100_000 })).rejects.toMatchObject(expected)
    await expect(blobs.put('a', Buffer.from('1'))).rejects.toMatchObject(expected)
    blobs.close?.()
    stranger.close()
  })

  test('an answer with less than the range that was asked for breaks off, whatever it says', async () => {
    const short = createServer((request, response) => {
      request.resume()
      response.writeHead(206, { etag: '"1"', 'content-range': 'bytes 0-9/200000', 'content-length': 10 }).end('0123456789')
    })
    await new Promise<void>((resolve) => short.listen(0, '127.0.0.1', resolve))
    const endpoint = `http://127.0.0.1:${(short.address() as AddressInfo).port}`
    const blobs = await open({ endpoint, env: { AWS_MAX_ATTEMPTS: '2' } })
    const expected = { code: 'REMOTE_FAILED', message: expect.stringContaining('got 10 of bytes 0-9/200000') }
    for (const end of [1000, 100_000]) await expect(blobs.get('a', { start: 0, end })).rejects.toMatchObject(expected)
    blobs.close?.()
    short.close().closeAllConnections()
  })

  test.each([-24, -3, 3, 24])('a clock that is %i hours off is corrected by the time the server tells', async (hours) => {
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + hours * 3_600_000 })
    try {
      const blobs = await open({ bucket: await s3!.bucket(`skew${hours}`) })
      expect(await blobs.put('a', Buffer.from('1'))).toBe('written')
      expect(await keysOf(blobs, '')).toEqual(['a'])
    } finally {
      vi.useRealTimers()
    }
  })

  test('80 requests at once leave every stream silent, on every Node, whatever AWS_CA_BUNDLE says', async () => {
    const program = join(folder, 'program.mjs')
    const source = `
      import { createS3Blobs } from ${JSON.stringify(join(import.meta.dirname, '../../src/transport/s3-blobs.ts'))}
      const signal = new AbortController().signal
      const blobs = await createS3Blobs({ ...JSON.parse(process.argv[2]), env: process.env })
      await Promise.all(Array.from({ length: 80 }, (_, i) => blobs.put('k' + i, Buffer.from('x'), { signal })))
      await Promise.all(Array.from({ length: 80 }, (_, i) => blobs.get('k' + i, { signal })))
      blobs.close()
      console.log('done', process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED)`
    await build({
      stdin: { contents: source, resolveDir: import.meta.dirname },
      ...{ bundle: true, format: 'esm', platform: 'node', outfile: program, logLevel: 'silent' },
      banner: { js: "import{createRequire as requireOf}from'node:module';const require=requireOf(import.meta.url);" },
    })
    const { endpoint, region, accessKeyId, secretAccessKey } = s3!
    const place = { bucket: await s3!.bucket('silent'), prefix: '', endpoint, region }
    const env = {
      ...process.env,
      ...{ AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey, AWS_CA_BUNDLE: '/no/such/file' },
      ...{ AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: undefined, NODE_OPTIONS: undefined, NODE_EXTRA_CA_CERTS: undefined },
    }
    const outcome = await promisify(execFile)(process.env.MLV_TEST_NODE ?? process.execPath, [program, JSON.stringify(place)], {
      env,
    })
    expect(outcome).toEqual({ stdout: 'done undefined\n', stderr: '' })
  })
})
