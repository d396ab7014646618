import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, expect, test } from 'vitest'
import { createDirectGetter, type DirectGetter } from '../../src/transport/direct-get.ts'
import { ShortBody } from '../../src/transport/http-body.ts'

const RANGE = 'content-range: bytes 0-9/10\r\n'
const WHOLE = `HTTP/1.1 206 Partial Content\r\n${RANGE}content-length: 10\r\n\r\n0123456789`

const servers: Server[] = []
const getters: DirectGetter[] = []
afterEach(() => {
  for (const getter of getters.splice(0)) getter.close()
  for (const server of servers.splice(0)) server.close()
})

/** ms: of a getter that is to give up, and of one that is not */
const [SHORT, LONG] = [300, 60_000]

/** A server that hands each request to `answer`, with its number and that of its connection, from 1. */
async function serve(
  answer: (socket: Socket, request: number, connection: number) => unknown,
  { idle = LONG, host = '127.0.0.1' }: { idle?: number; host?: string } = {},
) {
  let connections = 0
  let requests = 0
  const server = createServer((socket) => {
    const connection = ++connections
    socket.on('error', () => {})
    socket.on('data', () => answer(socket, ++requests, connection))
  })
  server.listen(0, host)
  servers.push(server)
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const getter = createDirectGetter(idle)
  getters.push(getter)
  const hostname = host.includes(':') ? `[${host}]` : host
  return {
    connections: () => connections,
    get: async () => {
      const request = { protocol: 'http:', hostname, port, path: '/a', headers: { range: 'bytes=0-9' } }
      return (await getter.get(request, Buffer.alloc(10), undefined))?.bytes.toString()
    },
  }
}

test.each([
  ['at once', [WHOLE]],
  ['byte by byte', [...WHOLE]],
  ['cut between head and body', [WHOLE.slice(0, -10), WHOLE.slice(-10)]],
])('a range that comes %s is read, and its connection kept', async (_, parts) => {
  const server = await serve(async (socket) => {
    socket.setNoDelay(true)
    for (const part of parts) {
      socket.write(part)
      await sleep(1)
    }
  })
  expect(await server.get()).toBe('0123456789')
  expect(await server.get()).toBe('0123456789')
  expect(server.connections()).toBe(1)
})

test.each([
  ['of the whole', 'HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n0123456789'],
  ['of HTTP/1.0', WHOLE.replace('1.1', '1.0')],
  ['in chunks', `HTTP/1.1 206 X\r\n${RANGE}transfer-encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n`],
  ['that is compressed', `HTTP/1.1 206 X\r\n${RANGE}content-encoding: gzip\r\ncontent-length: 10\r\n\r\n0123456789`],
  ['without a length', `HTTP/1.1 206 X\r\n${RANGE}\r\n0123456789`],
  ['that does not say which part it is', 'HTTP/1.1 206 X\r\ncontent-length: 10\r\n\r\n0123456789'],
  ['longer than asked for', `HTTP/1.1 206 X\r\n${RANGE}content-length: 11\r\n\r\n0123456789a`],
  ['after another', `HTTP/1.1 103 Early Hints\r\n\r\n${WHOLE}`],
  ['with an endless head', `HTTP/1.1 206 X\r\n${'x: y\r\n'.repeat(20_000)}`],
  ['that is no HTTP', '\0\x01\r\n\r\n'],
  ['that never comes', ''],
])('an answer %s is left to the client', async (_, text) => {
  const server = await serve((socket) => socket.write(text), { idle: text === '' ? SHORT : LONG })
  expect(await server.get()).toBeUndefined()
})

test.each([
  ['ends too early', LONG, (socket: Socket) => socket.end(WHOLE.slice(0, -3))],
  // Time enough for the head to be read.
  ['hangs halfway', 5 * SHORT, (socket: Socket) => socket.write(WHOLE.slice(0, -3))],
  ['has more than it says', LONG, (socket: Socket) => socket.write(`${WHOLE}more`)],
])('an answer that %s is worth another try', async (_, idle, answer) => {
  const server = await serve(answer, { idle })
  await expect(server.get()).rejects.toBeInstanceOf(ShortBody)
})

test('bytes that nobody asked for are not taken for the next answer', async () => {
  let ended: Promise<unknown> | undefined
  const server = await serve(async (socket, request) => {
    if (request > 1) return socket.write(WHOLE)
    ended = once(socket, 'close')
    socket.write(WHOLE)
    await sleep(20)
    socket.write(WHOLE.replace('0123456789', 'of another'))
  })
  expect(await server.get()).toBe('0123456789')
  await ended
  expect(await server.get()).toBe('0123456789')
  expect(server.connections()).toBe(2)
})

test('where kept connections hang, the next try is on a new one', async () => {
  const server = await serve(
    (socket, request, connection) => {
      if (request <= 3) return setTimeout(() => socket.write(WHOLE), 30)
      if (connection > 3) socket.write(WHOLE)
    },
    { idle: 5 * SHORT },
  )
  await Promise.all([server.get(), server.get(), server.get()])
  expect(await server.get()).toBe('0123456789')
  expect(server.connections()).toBe(4)
})

test('a server on an IPv6 address is asked there', async ({ skip }) => {
  const server = await serve((socket) => socket.write(WHOLE), { host: '::1' }).catch(() => undefined)
  if (!server) return skip()
  expect(await server.get()).toBe('0123456789')
})
