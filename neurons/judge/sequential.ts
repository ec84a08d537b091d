/** Events (errors) among exposures (requests) of one interval, of both versions. */
export interface IntervalCounts {
  readonly control: { readonly events: number; readonly exposure: number };
  readonly experiment: { readonly events: number; readonly exposure: number };
}

export interface SequentialSettings {
  /** Times the old rate that the new one must not reach; more than 1. */
  readonly ratio: number;
  /** Probability of calling equal versions worse. */
  readonly falseAlarm: number;
  /** Probability of calling a version equal that is `ratio` times worse. */
  readonly missed: number;
  /** Events per exposure of the new version that are nobody's concern, whatever the old one had. */
  readonly tolerableRate: number;
}

export const SEQUENTIAL_DEFAULTS: SequentialSettings = { ratio: 2, falseAlarm: 0.01, missed: 0.01, tolerableRate: 0.001 };

/** Where the test stands after some intervals. */
export interface SequentialState {
  readonly decision: 'worse' | 'same' | 'undecided';
  /** Log of the likelihood of "`ratio` times worse" over that of "equal", of all counts so far. */
  readonly logLikelihoodRatio: number;
  readonly worseAt: number;
  readonly sameAt: number;
  /** Upper bound of the new version's rate at `missed`, where it had no event at all. */
  readonly rateBound?: number;
}

/**
 * For traffic too thin to compare rates of intervals: after every interval the events so far are tested, as often as one likes, with both error
 * probabilities kept. Wald's sequential probability ratio test ("Sequential Tests of Statistical Hypotheses", Annals of Mathematical Statistics 16,
 * 1945): given an event, it is the new version's with probability w under equal rates, w being its share of the exposure, and with r w / (r w + 1 - w)
 * under a rate r times as high. Intervals may differ in exposure; a version without exposure adds nothing. Supposes that events come one by
 * one: a caller that retries must be counted once.
 *
 * Without events no likelihood moves. Then the new version is `same` once -ln(missed) / exposure, the bound at that confidence of a rate with no
 * event (Hanley and Lippman-Hand, "If Nothing Goes Wrong, Is Everything All Right?", JAMA 249, 1983), is below the tolerable rate.
 */
export function sequentialTest(intervals: readonly IntervalCounts[], settings: SequentialSettings): SequentialState {
  const worseAt = Math.log((1 - settings.missed) / settings.falseAlarm);
  const sameAt = Math.log(settings.missed / (1 - settings.falseAlarm));
  let sum = 0;
  let exposure = 0;
  let events = 0;
  // Only the first crossing counts: that is what the error probabilities are about.
  for (const { control, experiment } of intervals) {
    exposure += experiment.exposure;
    events += experiment.events;
    if (control.exposure > 0 && experiment.exposure > 0) sum += step(control, experiment, settings.ratio);
    if (sum >= worseAt) return { decision: 'worse', logLikelihoodRatio: sum, worseAt, sameAt };
    if (sum <= sameAt) return { decision: 'same', logLikelihoodRatio: sum, worseAt, sameAt };
  }
  const standing = { logLikelihoodRatio: sum, worseAt, sameAt };
  if (events > 0 || exposure === 0) return { decision: 'undecided', ...standing };
  const rateBound = -Math.log(settings.missed) / exposure;
  return { decision: rateBound <= settings.tolerableRate ? 'same' : 'undecided', ...standing, rateBound };
}

function step(control: IntervalCounts['control'], experiment: IntervalCounts['experiment'], ratio: number): number {
  const share = experiment.exposure / (experiment.exposure + control.exposure);
  const shareIfWorse = (ratio * share) / (ratio * share + 1 - share);
  return experiment.events * Math.log(shareIfWorse / share) + control.events * Math.log((1 - shareIfWorse) / (1 - share));
}
