import { z } from 'zod';
import { stepSchema } from './flow.ts';

/** What is to be seen of the page after a step. */
export const lookSchema = z
  .strictObject({
    snapshot: z.boolean().default(false).describe('Roles, names and texts of the page, as assistive technology has them.'),
    picture: z.boolean().default(false).describe('A JPEG of what the window shows; needs the permission `codec:decode`.'),
  })
  .default({ snapshot: false, picture: false });

/** One thing that is asked of an interactive session: a step, a look, or both. */
export const turnSchema = z.strictObject({
  id: z.uuid().describe('Names the request: sent again, it is answered again and not done again.'),
  step: stepSchema.optional().describe('Nothing is done without one, only looked.'),
  look: lookSchema,
});
export type Turn = z.output<typeof turnSchema>;

/** Why a step of an interactive session could not be taken; the session goes on. */
export const turnFailureSchema = z.object({ type: z.string(), message: z.string() });
export type TurnFailure = z.output<typeof turnFailureSchema>;

/** What an interactive session saw after a turn; kept sealed, since it quotes the page. */
export const turnAnswerSchema = z.object({
  url: z.string(),
  title: z.string(),
  tabs: z.int().describe('Open tabs.'),
  value: z.unknown().optional().describe('What the step read.'),
  snapshot: z.string().optional(),
  picture: z.base64().optional(),
});
export type TurnAnswer = z.output<typeof turnAnswerSchema>;
