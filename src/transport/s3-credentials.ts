import type { S3Client } from '@aws-sdk/client-s3'
import { sayRenewed } from './s3-answer.ts'
import { mayHaveEnded, type S3Place, s3Error } from './s3-error.ts'

/** Credentials that end in the middle of work. */
export interface Renewal {
  /** Runs a request with credentials. When they have ended, asks their source for new ones; the error then says that another try may do.
   *  @throws REMOTE_DENIED where there are no credentials */
  use<T>(request: () => Promise<T>): Promise<T>
}

interface Identity {
  accessKeyId: string
  sessionToken?: string
}

type Provider = (options?: { forceRefresh: boolean }) => Promise<Identity>

/** ms for which new credentials are not doubted: a role gives others each time it is asked, and what is denied to all of them stays so. No source gives
 *  any for less. */
const FRESH_MS = 60_000

export function createRenewal(client: S3Client, place: S3Place): Renewal {
  const provider = client.config.credentials as unknown as Provider
  let identity: Promise<Identity> | undefined
  let renewedAt = Number.NEGATIVE_INFINITY

  /** Asks for credentials apart from the request: a network fault on the way to them is none of the server's. */
  function ask(forceRefresh: boolean): Promise<Identity> {
    return provider({ forceRefresh }).catch((error: Error) => {
      throw s3Error(Object.assign(new Error(error.message), { name: 'CredentialsProviderError', cause: error }), place, '')
    })
  }

  /** Of many requests that find the same credentials ended, one asks for new ones. @returns whether there are others now */
  async function renew(used: Promise<Identity>): Promise<boolean> {
    if (identity === used) {
      if (Date.now() - renewedAt < FRESH_MS) return false
      renewedAt = Date.now()
      identity = ask(true)
    }
    const [before, now] = await Promise.all([used, identity!])
    return before.accessKeyId !== now.accessKeyId || before.sessionToken !== now.sessionToken
  }

  return {
    async use(request) {
      identity ??= ask(false)
      const used = identity
      await used
      try {
        return await request()
      } catch (error) {
        if (mayHaveEnded(error) && (await renew(used))) sayRenewed(error)
        throw error
      }
    },
  }
}
