/** Headers as an object, which `request` takes; those that stand twice keep both values. */
export function joined(raw: string[]): Record<string, string | string[]> {
  const headers: Record<string, string | string[]> = {}
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i]!.toLowerCase()
    const value = raw[i + 1]!
    // Node's server has answered it already, and a body behind it would come too early. No signature covers it.
    if (name === 'expect') continue
    headers[name] = headers[name] === undefined ? value : [headers[name], value].flat()
  }
  return headers
}
