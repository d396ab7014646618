import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { openBlobs } from '../../src/transport/open-blobs.ts'
import { parsePlace } from '../../src/transport/place.ts'

const context = { root: '/work/project', env: { HOME: '/home/ann' } }

describe('the url of a remote', () => {
  test.each([
    ['../remote', { kind: 'folder', folder: '/work/remote' }],
    ['remote', { kind: 'folder', folder: '/work/project/remote' }],
    ['/mnt/a disk', { kind: 'folder', folder: '/mnt/a disk' }],
    ['~/data', { kind: 'folder', folder: '/home/ann/data' }],
    ['file:///mnt/a%20disk', { kind: 'folder', folder: '/mnt/a disk' }],
    ['s3://bucket', { kind: 's3', bucket: 'bucket', prefix: '' }],
    ['s3://my.bucket/', { kind: 's3', bucket: 'my.bucket', prefix: '' }],
    ['s3://bucket/deep//prefix/', { kind: 's3', bucket: 'bucket', prefix: 'deep/prefix' }],
    ['https://example.org/data', { kind: 'http', url: 'https://example.org/data' }],
  ])('%s', (url, place) => {
    expect(parsePlace(url, context)).toEqual(place)
  })

  test.each([
    '',
    ' ',
    's3://',
    's3:///prefix',
    's3://b',
    's3://bucket/a?region=x',
    's3://bucket/../x',
    'ftp://host/x',
    'ssh://host/x',
    'git@host:repo',
    'gs://bucket/x',
    'file://host/x',
  ])('"%s" is refused with a hint', (url) => {
    expect(() => parsePlace(url, context)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID', hint: expect.any(String) }))
  })

  test.each([
    's3://AKIA:hunter2@bucket/x',
    'https://ann:hunter2@example.org/x',
    'https://example.org/x?X-Amz-Signature=hunter2',
    'https://example.org/x?token=hunter2',
  ])('%s holds a secret, which is refused and not repeated', (url) => {
    expect(() => parsePlace(url, context)).toThrow(
      expect.objectContaining({ code: 'SECRET_REFUSED', message: expect.not.stringContaining('hunter2') }),
    )
  })
})

describe('opening a remote', () => {
  const root = mkdtempSync(join(tmpdir(), 'mlv-open-'))
  afterAll(() => rmSync(root, { recursive: true, force: true }))

  test('a folder is relative to the project, and is called as it was written', async () => {
    const blobs = await openBlobs({ url: 'remote' }, { root, env: {} })
    await blobs.put('a', Buffer.from('1'))
    expect(blobs).toMatchObject({ url: 'remote' })
    expect(blobs.filePath?.('a')).toBe(join(root, 'remote', 'a'))
  })

  test.each([
    [{ url: 's3://bucket', endpoint: 'localhost:9000' }, 'CONFIG_INVALID'],
    [{ url: 's3://bucket', endpoint: 'http://key:hunter2@localhost' }, 'SECRET_REFUSED'],
    [{ url: 's3://bucket', checksum: 'crc' as never }, 'CONFIG_INVALID'],
    [{ url: 's3://bucket', sse: 'rot13' }, 'CONFIG_INVALID'],
  ])('%j is refused', async (settings, code) => {
    await expect(openBlobs(settings, { root, env: {} })).rejects.toMatchObject({
      code,
      message: expect.not.stringContaining('hunter2'),
    })
  })
})

test.each(['s3', 'http'])(
  'a server that is silent over %s ends with the signal, also where a read is given none',
  async (kind) => {
    const silent = createServer((socket) => void socket.on('error', () => {}))
    silent.listen(0, '127.0.0.1')
    await once(silent, 'listening')
    const endpoint = `http://127.0.0.1:${(silent.address() as AddressInfo).port}`
    const stop = new AbortController()
    const settings = kind === 's3' ? { url: 's3://bucket', endpoint } : { url: endpoint }
    const env = { AWS_ACCESS_KEY_ID: 'key', AWS_SECRET_ACCESS_KEY: 'secret', AWS_REGION: 'us-east-1' }
    const blobs = await openBlobs(settings, { root: '/work', env, signal: stop.signal })
    const reason = new Error('stopped')
    const reads = [blobs.get('a'), blobs.head('a'), blobs.list('')[Symbol.asyncIterator]().next()]
    const ends = Promise.allSettled(reads)
    await once(silent, 'connection')
    stop.abort(reason)
    for (const end of await ends) expect(end).toEqual({ status: 'rejected', reason })
    blobs.close?.()
    silent.close()
  },
)
