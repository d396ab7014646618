import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { createMlflowClient } from '../../src/mlflow/client.ts'
import { planExport } from '../../src/mlflow/export.ts'
import { parseTrackingUri } from '../../src/mlflow/tracking-uri.ts'
import { freePort } from '../helpers/server-process.ts'

let servers: Server[] = []

async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener)
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

afterEach(async () => {
  for (const server of servers) {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
  servers = []
})

function open(uri: string, env: Record<string, string> = {}, signal?: AbortSignal) {
  return createMlflowClient(parseTrackingUri(uri, env), { signal })
}

describe('a server that is no MLflow', () => {
  it('is down', async () => {
    const uri = `http://127.0.0.1:${await freePort()}`
    await expect(open(uri).experimentByName('x')).rejects.toMatchObject({
      code: 'MLFLOW_FAILED',
      message: `MLflow at ${uri} cannot be reached: nothing listens there`,
      hint: expect.stringContaining('mlflow server'),
    })
  })

  it.each([
    ['a web page', 200, '<!doctype html><title>Welcome</title>', 'text/html', 'answers with a web page (status 200)'],
    ['a page for 404', 404, '<html>not here</html>', 'text/html', 'answers with a web page (status 404)'],
    ['other JSON', 200, '{"hello":"world"}', 'application/json', 'answers with something else (status 200)'],
    ['a list', 200, '[]', 'application/json', 'no JSON'],
    ['half an answer', 200, '{"experiment":', 'application/json', 'no JSON'],
    ['another error', 404, '{"detail":"Not Found"}', 'application/json', 'answers with an error (status 404)'],
  ])('answers %s', async (_what, status, body, type, message) => {
    const uri = await serve((_request, response) => response.writeHead(status, { 'content-type': type }).end(body))
    await expect(open(uri).experimentByName('x')).rejects.toMatchObject({
      code: 'MLFLOW_FAILED',
      message: expect.stringContaining(message),
      hint: expect.stringContaining('--tracking-uri'),
    })
  })

  it('sends us elsewhere, and is not followed with our credentials', async () => {
    let visits = 0
    const other = await serve((_request, response) => {
      visits++
      response.end('{}')
    })
    const uri = await serve((_request, response) => response.writeHead(302, { location: `${other}/login?next=secret` }).end())
    await expect(open(uri, { MLFLOW_TRACKING_TOKEN: 't' }).experimentByName('x')).rejects.toMatchObject({
      message: `MLflow at ${uri} redirects to ${other}/login instead of answering`,
    })
    expect(visits).toBe(0)
  })
})

describe('a login', () => {
  it('that lacks is told with the variables that give it', async () => {
    const uri = await serve((_request, response) =>
      response.writeHead(401, { 'content-type': 'text/plain' }).end('You are not authenticated.'),
    )
    await expect(open(uri).experimentByName('x')).rejects.toMatchObject({
      message: expect.stringContaining('You are not authenticated.'),
      hint: 'Set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD.',
    })
  })

  it.each([
    [{ MLFLOW_TRACKING_TOKEN: 'secret' }, '', 'Bearer secret'],
    [{ MLFLOW_TRACKING_USERNAME: 'ada', MLFLOW_TRACKING_PASSWORD: 'secret' }, '', `Basic ${btoa('ada:secret')}`],
    [{ MLFLOW_TRACKING_TOKEN: 'other' }, 'ada:s%40cret', `Basic ${btoa('ada:s@cret')}`],
  ])('is sent, and never shown: %j %s', async (env, user, header) => {
    let seen: string | undefined
    const uri = await serve((request, response) => {
      seen = request.headers.authorization
      response.writeHead(403).end()
    })
    const failure = await open(user ? uri.replace('//', `//${user}@`) : uri, env)
      .experimentByName('x')
      .catch((error: unknown) => error)
    expect(seen).toBe(header)
    expect(failure).toMatchObject({ code: 'MLFLOW_FAILED', hint: expect.stringContaining('Check MLFLOW_TRACKING_TOKEN') })
    expect(`${(failure as Error).message}`).not.toMatch(/cret|ada/)
  })
})

describe('a busy server', () => {
  it.each([429, 503])('is asked again after a %i', async (status) => {
    let calls = 0
    const uri = await serve((_request, response) => {
      if (++calls < 3) response.writeHead(status).end('busy')
      else response.end(JSON.stringify({ experiment: { experiment_id: '7', name: 'x', lifecycle_stage: 'active' } }))
    })
    expect(await open(uri).experimentByName('x')).toEqual({ id: '7', name: 'x', stage: 'active' })
    expect(calls).toBe(3)
  })

  it('is asked again after a lost connection', async () => {
    let calls = 0
    const uri = await serve((request, response) => {
      if (++calls === 1) request.socket.destroy()
      else response.end(JSON.stringify({ experiment: { experiment_id: '7', name: 'x' } }))
    })
    expect((await open(uri).experimentByName('x'))?.id).toBe('7')
  })

  it('is no longer asked once the user interrupts', async () => {
    const interrupt = new AbortController()
    const uri = await serve((_request, response) => {
      response.writeHead(503).end()
      interrupt.abort(new Error('stop'))
    })
    await expect(open(uri, {}, interrupt.signal).experimentByName('x')).rejects.toThrow('stop')
  })
})

describe('a tracking URI', () => {
  it.each([
    ['http://127.0.0.1:5000/', 'http://127.0.0.1:5000'],
    ['https://ada:secret@example.org/mlflow/#/experiments/1?x=y', 'https://example.org/mlflow'],
  ])('%s leads to %s', (text, url) => {
    expect(parseTrackingUri(text, {}).url).toBe(url)
  })

  it.each([
    ['file:///tmp/mlruns', /mlflow server --port 5000/],
    ['./mlruns', /mlflow server --port 5000/],
    ['sqlite:///mlflow.db', /mlflow server --backend-store-uri sqlite:\/\/\/mlflow\.db/],
    ['postgresql://ada:secret@db/mlflow', /--backend-store-uri postgresql:\/\/db\/mlflow/],
    ['databricks', /mlflow server|https/],
    ['localhost:5000', /--tracking-uri http/],
  ])('%s is refused with the way out', (text, hint) => {
    let failure: unknown
    try {
      parseTrackingUri(text, {})
    } catch (error) {
      failure = error
    }
    expect(failure).toMatchObject({ code: 'USAGE', hint: expect.stringMatching(hint) })
    expect(JSON.stringify(failure)).not.toContain('secret')
  })
})

describe('a plan without a server', () => {
  it('counts every run as new where that is allowed, and says why', async () => {
    const client = open(`http://127.0.0.1:${await freePort()}`)
    await expect(planExport([], client, { experiment: 'x' })).rejects.toMatchObject({ code: 'MLFLOW_FAILED' })
    expect(await planExport([], client, { experiment: 'x', allowUnseen: true })).toMatchObject({
      steps: [],
      unseen: expect.stringContaining('cannot be reached'),
    })
  })

  it('refuses an experiment name MLflow cannot hold', async () => {
    await expect(planExport([], open('http://127.0.0.1:9'), { experiment: ' ' })).rejects.toMatchObject({ code: 'USAGE' })
  })
})
