import { createReadStream, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { createHttpBlobs, LISTING } from '../../src/transport/http-blobs.ts'
import { keysOf, readingContract } from '../contract/blobs.ts'
import { openFaultyLine } from '../helpers/faulty-line.ts'

const top = mkdtempSync(join(tmpdir(), 'mlv-http-'))
const servers: Server[] = []
afterAll(() => {
  for (const server of servers) server.close().closeAllConnections()
  rmSync(top, { recursive: true, force: true })
})

/** A plain server of static files. `knowsRanges: false` is how the plainest ones behave. */
async function serve(folder: string, knowsRanges: boolean): Promise<string> {
  const server = createServer((request, response) => {
    const path = join(folder, decodeURIComponent(request.url ?? ''))
    const info = statSync(path, { throwIfNoEntry: false })
    if (request.url?.startsWith('/private/')) return void response.writeHead(403).end('no')
    if (!info?.isFile()) return void response.writeHead(404).end('nothing here')
    const modified = info.mtime.toUTCString()
    const range = knowsRanges ? /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') : null
    if (!range) {
      response.writeHead(200, { 'content-length': info.size, 'last-modified': modified })
      return void (request.method === 'HEAD' ? response.end() : createReadStream(path).pipe(response))
    }
    const start = Number(range[1])
    const end = Math.min(range[2] ? Number(range[2]) : info.size - 1, info.size - 1)
    if (start >= info.size) return void response.writeHead(416).end()
    response.writeHead(206, { 'content-length': end - start + 1, 'content-range': `bytes ${start}-${end}/${info.size}` })
    createReadStream(path, { start, end }).pipe(response)
  })
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${(server.address() as { port: number }).port}`
}

function fill(content: Record<string, Uint8Array>): string {
  const folder = mkdtempSync(join(top, 'served-'))
  const lines = Object.entries(content).map(([key, bytes]) => {
    mkdirSync(join(folder, dirname(key)), { recursive: true })
    writeFileSync(join(folder, key), bytes)
    return `${bytes.length}\t${Date.now() / 1000}\t${key}\n`
  })
  writeFileSync(join(folder, LISTING), lines.join(''))
  return folder
}

readingContract('a web server', async (content) => createHttpBlobs({ url: `${await serve(fill(content), true)}/` }))
readingContract('a web server that knows no ranges', async (content) =>
  createHttpBlobs({ url: await serve(fill(content), false) }),
)

describe('a web server', () => {
  test('is read only, and says so', async () => {
    const blobs = createHttpBlobs({ url: 'http://127.0.0.1:1/remote' })
    await expect(blobs.put('a', Buffer.from('1'))).rejects.toMatchObject({
      code: 'REMOTE_DENIED',
      message: expect.stringContaining('read only'),
    })
    await expect(blobs.delete('a')).rejects.toMatchObject({ code: 'REMOTE_DENIED' })
  })

  test('without a listing says how to make one', async () => {
    const folder = mkdtempSync(join(top, 'unlisted-'))
    const blobs = createHttpBlobs({ url: await serve(folder, true) })
    await expect(keysOf(blobs, '')).rejects.toMatchObject({ code: 'REMOTE_FAILED', hint: expect.stringContaining(LISTING) })
    writeFileSync(join(folder, LISTING), '3\tx\tkey\n')
    await expect(keysOf(blobs, '')).rejects.toMatchObject({
      code: 'REMOTE_FAILED',
      message: expect.stringContaining(`${LISTING}:1`),
    })
    writeFileSync(join(folder, LISTING), '3\t1.5\tkey\n')
    expect(await keysOf(blobs, '')).toEqual(['key'])
  })

  test('that denies, or is not there, is named', async () => {
    const url = await serve(fill({}), true)
    await expect(createHttpBlobs({ url: `${url}/private` }).get('a')).rejects.toMatchObject({ code: 'REMOTE_DENIED' })
    const line = await openFaultyLine(url)
    await line.stop()
    await expect(createHttpBlobs({ url: line.url }).get('a')).rejects.toMatchObject({
      code: 'REMOTE_UNREACHABLE',
      message: expect.stringContaining(line.url),
    })
  })

  test('whose answers break off is asked again, but not for ever', async () => {
    const bytes = Buffer.alloc(1 << 20, 'm')
    const line = await openFaultyLine(await serve(fill({ a: bytes }), true))
    const blobs = createHttpBlobs({ url: line.url, tries: 4 })
    for (const after of [0, 50, 300_000]) {
      line.breakAfter(after, 2)
      expect(bytes.equals(await blobs.get('a'))).toBe(true)
      expect(line.broken()).toBe(2)
    }
    line.breakAfter(300_000, 1000)
    await expect(blobs.get('a')).rejects.toMatchObject({ code: 'REMOTE_FAILED', message: expect.stringContaining('broke off') })
    await line.stop()
  })
})
