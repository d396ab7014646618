/** What the SDK throws for an answer that is an error. */
export interface Answer {
  name?: string
  message?: string
  /** of the answer's body, and so not of one to HEAD */
  Code?: string
  /** the region, and the server, that a redirect names */
  Region?: string
  Endpoint?: string
  /** the SDK has corrected its clock by the answer's */
  $metadata?: { httpStatusCode?: number; clockSkewCorrected?: boolean }
  $response?: { headers?: Record<string, string> }
}

export function statusOf(error: unknown): number | undefined {
  return (error as Answer | undefined)?.$metadata?.httpStatusCode
}

const renewed = new WeakSet<object>()

/** There are other credentials now than those the failed request was signed with, or another region. */
export function sayRenewed(error: unknown): void {
  renewed.add(error as object)
}

export function isRenewed(error: unknown): boolean {
  return renewed.has(error as object)
}
