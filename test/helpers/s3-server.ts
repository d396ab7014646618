import { mkdirSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { findProgram, startServer } from './server-process.ts'

export interface S3Server {
  endpoint: string
  accessKeyId: string
  secretAccessKey: string
  region: string
  /** makes a bucket with that name, or one close to it, and gives its name */
  bucket(name: string): Promise<string>
  /** where buckets lie as folders, and blobs as files; undefined of a server that was not started here */
  folder?: string
  stop(): Promise<void>
}

/** Where a real S3 server comes from: a running one, or the program to start; undefined when this machine has neither. */
export function findS3(): { endpoint: string } | { program: string } | undefined {
  const endpoint = process.env.MLV_TEST_S3_ENDPOINT
  if (endpoint) return { endpoint: endpoint.replace(/\/+$/, '') }
  const program = findProgram('versitygw', [join(process.env.GOPATH ?? join(homedir(), 'go'), 'bin')])
  return program ? { program } : undefined
}

/** Starts a real S3 server (versitygw) on a temporary folder, or takes the one MLV_TEST_S3_ENDPOINT names, with MLV_TEST_S3_ACCESS_KEY_ID and MLV_TEST_S3_SECRET_ACCESS_KEY.
 *  @returns undefined where there is none: the tests skip, unless MLV_REQUIRE_REAL=1 made the run fail before */
export async function startS3(options: S3ServerOptions = {}): Promise<S3Server | undefined> {
  const found = findS3()
  if (!found) return undefined
  return 'endpoint' in found ? foreignServer(found.endpoint) : ownServer(found.program, options)
}

export interface S3ServerOptions {
  /** its buckets can be told to keep versions */
  keepsVersions?: boolean
  /** knows OTHER_KEY, too */
  otherUser?: boolean
}

/** Of a second user, who may do all that the first may. */
export const OTHER_KEY = { accessKeyId: 'mlvother', secretAccessKey: 'mlvothersecret' }

async function ownServer(program: string, { keepsVersions = false, otherUser = false }: S3ServerOptions): Promise<S3Server> {
  const accessKeyId = 'mlvtest'
  const secretAccessKey = 'mlvtestsecret'
  const server = await startServer({
    program,
    args: (port, folder) => {
      for (const name of ['buckets', 'versions']) mkdirSync(join(folder, name), { recursive: true })
      const login = ['--port', `127.0.0.1:${port}`, '--access', accessKeyId, '--secret', secretAccessKey]
      const versions = keepsVersions ? ['--versioning-dir', join(folder, 'versions')] : []
      return [...login, ...(otherUser ? ['--iam-dir', usersFolder(folder)] : []), 'posix', ...versions, join(folder, 'buckets')]
    },
    isReady: async (port) => (await fetch(`http://127.0.0.1:${port}/`, { signal: AbortSignal.timeout(10_000) })).status > 0,
    patience: 120,
  })
  const folder = join(server.folder, 'buckets')
  return {
    ...{ endpoint: `http://127.0.0.1:${server.port}`, accessKeyId, secretAccessKey, region: 'us-east-1', folder },
    bucket: async (name) => {
      // A bucket of the posix backend is a folder.
      mkdirSync(join(folder, name), { recursive: true })
      return name
    },
    stop: server.stop,
  }
}

function usersFolder(folder: string): string {
  const { accessKeyId: access, secretAccessKey: secret } = OTHER_KEY
  const users = join(folder, 'users')
  mkdirSync(users, { recursive: true })
  writeFileSync(join(users, 'users.json'), JSON.stringify({ accessAccounts: { [access]: { access, secret, role: 'admin' } } }))
  return users
}

async function foreignServer(endpoint: string): Promise<S3Server> {
  const { CreateBucketCommand, DeleteBucketCommand, DeleteObjectCommand, ListObjectsV2Command, S3Client } = await import(
    '@aws-sdk/client-s3'
  )
  const accessKeyId = process.env.MLV_TEST_S3_ACCESS_KEY_ID ?? ''
  const secretAccessKey = process.env.MLV_TEST_S3_SECRET_ACCESS_KEY ?? ''
  const region = process.env.MLV_TEST_S3_REGION ?? 'us-east-1'
  const client = new S3Client({ endpoint, region, forcePathStyle: true, credentials: { accessKeyId, secretAccessKey } })
  const made: string[] = []
  return {
    ...{ endpoint, accessKeyId, secretAccessKey, region },
    bucket: async (name) => {
      const bucket = `mlv-test-${name}-${Date.now().toString(36)}`
      await client.send(new CreateBucketCommand({ Bucket: bucket }))
      made.push(bucket)
      return bucket
    },
    stop: async () => {
      for (const bucket of made) {
        for (;;) {
          const { Contents } = await client.send(new ListObjectsV2Command({ Bucket: bucket }))
          if (!Contents?.length) break
          for (const { Key } of Contents) await client.send(new DeleteObjectCommand({ Bucket: bucket, Key }))
        }
        await client.send(new DeleteBucketCommand({ Bucket: bucket }))
      }
      client.destroy()
    },
  }
}
