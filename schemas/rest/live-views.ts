import { z } from 'zod';
import { liveInputsSchema } from '../browser/live-input.ts';

export const liveLinkParams = z.object({ token: z.string().min(1).max(2000) });

export const liveViewView = z.object({
  id: z.uuid(),
  token: z.string().describe('Credential of the routes below `/live`.'),
  url: z.string().describe('A page for people.'),
  expiresAt: z.iso.datetime(),
});

export const liveInputsBody = z.strictObject({ inputs: liveInputsSchema });

export const liveFrameView = z.object({
  runId: z.string(),
  width: z.int().describe('Of the page\'s window, CSS pixels.'),
  height: z.int(),
  attended: z.boolean().describe('Whether inputs reach the page: the session waits for a person, or was taken over.'),
  picture: z.string().describe('A JPEG, base64.'),
});
