import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe } from 'vitest'
import { createDirBlobs } from '../../src/transport/dir-blobs.ts'
import { createS3Blobs } from '../../src/transport/s3-blobs.ts'
import { storeContract } from '../contract/store.ts'
import { startS3 } from '../helpers/s3-server.ts'

const s3 = await startS3()
const folder = mkdtempSync(join(tmpdir(), 'mlv-store-'))
afterAll(async () => {
  await s3?.stop()
  rmSync(folder, { recursive: true, force: true })
})

let places = 0
const newFolder = async () => {
  const root = join(folder, `place ${++places}`)
  return async () => createDirBlobs({ root })
}

storeContract('a cache', 'cache', newFolder)
storeContract('a folder as remote', 'remote', newFolder)

describe.skipIf(!s3)('on a real S3 server', () => {
  let bucket: Promise<string> | undefined
  storeContract('a bucket as remote', 'remote', async () => {
    bucket ??= s3!.bucket('stores')
    const prefix = `store ${++places}/`
    const { endpoint, region, accessKeyId, secretAccessKey } = s3!
    return async () => createS3Blobs({ bucket: await bucket!, prefix, endpoint, region, accessKeyId, secretAccessKey, env: {} })
  })
})
