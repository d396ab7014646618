import { spawn } from 'node:child_process'
import { readdirSync, statSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { BIN, makeFolder, makeRepo, type Repo, run } from '../helpers/repo.ts'
import type { S3Server } from '../helpers/s3-server.ts'

const NODE = process.env.MLV_TEST_NODE || process.execPath

export async function ok(repo: Repo, ...args: string[]): Promise<string> {
  const result = await repo.mlv(...args)
  expect({ args, ...result }).toMatchObject({ args, exitCode: 0 })
  return result.stdout
}

/** Starts a command that halts before its first act of a name. @returns what lets it go on, and its end */
export async function halted(
  repo: Repo,
  point: string,
  ...args: string[]
): Promise<() => Promise<{ exitCode: number; stderr: string }>> {
  const env = { ...repo.env, MLV_FAULT: `stop:1@${point}` } as NodeJS.ProcessEnv
  const child = spawn(NODE, [BIN, ...args], { cwd: repo.dir, env, stdio: ['ignore', 'ignore', 'pipe'] })
  const err: Buffer[] = []
  child.stderr.on('data', (chunk) => err.push(chunk))
  const end = new Promise<{ exitCode: number; stderr: string }>((done) =>
    child.on('close', (code) => done({ exitCode: code ?? -1, stderr: Buffer.concat(err).toString() })),
  )
  for (;;) {
    const { stdout } = await stateOf(child.pid!)
    if (stdout.startsWith('T')) break
    if (child.exitCode !== null) throw new Error(`${args.join(' ')} never came to "${point}": ${Buffer.concat(err)}`)
    await sleep(20)
  }
  return () => {
    child.kill('SIGCONT')
    return end
  }
}

async function stateOf(pid: number): Promise<{ stdout: string }> {
  return run('ps', ['-o', 'stat=', '-p', String(pid)], { cwd: '/', env: process.env })
}

/** Lets days pass for all files of a folder. */
export function pass(folder: string, days: number): void {
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const path = join(entry.parentPath, entry.name)
    const time = statSync(path).mtimeMs / 1000 - days * 24 * 3600
    utimesSync(path, time, time)
  }
}

/** A remote, the folder that its files lie in, and what mlv needs to be told of it. */
export interface Place {
  url: string
  folder: string
  options: string[]
  env: Record<string, string>
}

/** A new remote: a folder, or part of a bucket of a server, which may be reached by way of another endpoint. */
async function placeFor(server: S3Server | undefined, endpoint?: string): Promise<Place> {
  if (!server) {
    const folder = join(makeFolder().dir, 'remote')
    return { url: folder, folder, options: [], env: {} }
  }
  const { accessKeyId, secretAccessKey, region, folder } = server
  const bucket = await server.bucket(`collect-${Math.random().toString(36).slice(2, 8)}`)
  return {
    url: `s3://${bucket}/p`,
    folder: join(folder ?? '', bucket, 'p'),
    options: ['--endpoint', endpoint ?? server.endpoint, '--region', region, '--path-style'],
    env: { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey },
  }
}

/** `old` and what it needs lies on the remote, and only a clone's work tree still refers to it. */
export async function makeWorld(
  server?: S3Server,
  endpoint?: string,
): Promise<{ repo: Repo; clone: Repo; remote: string; place: Place }> {
  const place = await placeFor(server, endpoint)
  const { url, folder, options, env } = place
  const repo = await makeRepo({ 'data/a': 'old a', 'data/b': 'old b' }, { init: true, commit: true, env })
  await ok(repo, 'remote', 'add', 'origin', url, '--local', ...options)
  await ok(repo, 'add', 'data')
  await repo.commit('Data')
  await ok(repo, 'push')
  const clone = await repo.clone()
  await ok(clone, 'remote', 'add', 'origin', url, '--local', ...options)
  await ok(clone, 'pull')
  await repo.git('reset', '-q', '--hard', 'HEAD~1')
  clone.write('new', 'new')
  await ok(clone, 'add', 'new')
  return { repo, clone, remote: folder, place }
}
