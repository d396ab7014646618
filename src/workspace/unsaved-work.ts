import { MlvError } from '../base/errors.ts'
import { quotePath } from '../base/paths.ts'
import type { CheckoutPlan } from './checkout-plan.ts'

/** Refuses plans that would overwrite or delete what no cache holds. @param giveUp what does so all the same   @throws WORK_UNSAVED */
export function refuseUnsaved(plans: readonly CheckoutPlan[], giveUp: string): void {
  const stopped = plans.filter((plan) => plan.unsaved.length > 0)
  const [first] = stopped
  if (!first) return
  const count = stopped.reduce((sum, plan) => sum + plan.unsaved.length, 0)
  const more = count > 1 ? ` (and ${count - 1} more)` : ''
  const paths = stopped.length === 1 ? ` ${quotePath(first.path)}` : ''
  // Nobody has edited it: to be told of changes, one would look for them in vain.
  if (stopped.every((plan) => plan.isOlder))
    throw new MlvError(
      'WORK_UNSAVED',
      `${first.unsaved[0]}${more} is an older version that the cache has lost: it would be gone`,
      {
        hint: `If a remote has it, get it with "mlv fetch --all-commits${paths}", then run this again; or give it up with ${giveUp}.`,
      },
    )
  throw new MlvError('WORK_UNSAVED', `${first.unsaved[0]}${more} has changes that are in no cache and would be lost`, {
    hint: `Keep them with "mlv add${paths}", or give them up with ${giveUp}.`,
  })
}
