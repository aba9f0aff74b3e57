/* SPDX-License-Identifier: BSD-3-Clause */
/**
 * @file compress.h
 * Gradient codecs: fewer bytes for a gradient, and what was lost is sent later.
 *
 * A codec is chosen by a text, NAME[:NUMBER][,KEY=VALUE]...[,force]:
 *
 *     f16, bf16          every element rounded to 16 bits
 *     8bit               256 levels between the least and the largest of 1,024 elements
 *     onebit             one bit an element, two means per 1,024 (Seide et al. 2014)
 *     sign               the same with one mean, EF-signSGD (Karimireddy et al. 2019)
 *     terngrad[:CLIP]    -s, 0 or s at random (Wen et al. 2017), unbiased with CLIP 0;
 *                        otherwise elements of a block beyond CLIP of its standard
 *                        deviations, 2.5 unless said, are cut to them; seed=N
 *     topk:RATIO         the largest RATIO of the elements, 0 < RATIO <= 1
 *     dgc:RATIO          top-k with momentum correction (Lin et al. 2018);
 *                        momentum=0.9; clip=NORM (0: none) for the gradient of one
 *                        rank's bucket, whose limit is NORM / sqrt(ranks) (a single
 *                        codec's: NORM); warmup=STEPS (0: none)
 *                        over whose fifths the ratio falls from RATIO^(1/5) to RATIO;
 *                        a reducer counts all its steps, a single codec its codes
 *     randomk:RATIO      elements drawn at random, the same on all ranks; seed=N
 *     powersgd:RANK      a product of two thin matrices (Vogels et al. 2019), RANK 1 to
 *                        16; seed=N
 *     none               no codec
 *
 * All but none know two words that are for a reducer only, and without effect on a
 * single codec: start=STEPS, its first steps are dense; force, the choice between codec
 * and plain average is switched off.
 *
 * Most users need no more: the text goes into dml_reducer_opts (sync.h). The functions
 * below are what the reducer runs on, for one rank and without communication.
 *
 * Error feedback. Of p = gradient + residual the code holds C(p), and p - C(p) becomes
 * the residual; so the codes and the last residual add up to the gradients. TernGrad
 * has none: with CLIP 0 it is right in the mean. dgc keeps momentum itself, per rank,
 * before it selects: the optimizer's own momentum must be 0 then, at the rate that goes
 * with momentum.
 *
 * Elements that are not finite, or of magnitude 2^100 and above (sums of a block would
 * overflow), are errors: the code is unusable and the residual is cleared.
 *
 * On a device. Every codec codes device memory too: the first dml_codec_encode() of
 * such a gradient takes the codec there, where its residual and momentum then lie; from
 * then on it takes device memory only. Calls are queued in a stream
 * (dml_codec_set_stream()) and return; a gradient that was unusable is an error of a
 * later call, or of dml_codec_wait(). Codes have the host's bits, so that a rank with a
 * device and one without understand each other; only columns with which powersgd begins
 * anew may differ from the host's in the last bit. Codes of terngrad and randomk cannot
 * be captured in a graph, whose replays would draw the same numbers again, nor those of
 * dgc's warm-up, of whose steps the number would stand still; what is refused counts as
 * no code. Replays of topk and dgc have the number of the captured code: of magnitudes
 * that are equal at the limit the same ones go first each time, while codes that are
 * not captured take turns.
 *
 * None is collective. Threads: one at a time per codec. Codes are of this machine's
 * byte order.
 */
#ifndef DML_COMPRESS_H
#define DML_COMPRESS_H

#include "dml/ctx.h"

#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Longest text of a codec, with its final zero. */
#define DML_CODEC_TEXT_MAX 96

typedef struct dml_codec dml_codec;

/** Is this the text of a codec? @param[in] spec  NULL and "" are as "none".
 * @return DML_OK | DML_EINVAL: the context's last error says what is wrong with it.
 * Any thread.  @since 0.2 */
DML_API dml_status dml_codec_check(const dml_ctx *ctx, const char *spec);

/** Name of the codec number @p index, from 0; NULL past the end. Static. Any thread.
 * @since 0.2 */
DML_API const char *dml_codec_name(size_t index);

/** One line on the same codec. Static. Any thread. @since 0.2 */
DML_API const char *dml_codec_description(size_t index);

/**
 * A codec for one vector, with its residual, which begins as 0.
 * @param[in] spec    text of a codec, not "none"; copied.
 * @param count       elements; may be 0.
 * @param rows        of the vector seen as a matrix by rows, dividing count; only
 *                    powersgd needs it; else 0.
 * @param stream      number of the random sequence: equal on all ranks for randomk and
 *                    powersgd, different for terngrad.
 * @param[out] codec  returned; free with dml_codec_destroy().
 * @return DML_OK | DML_EINVAL | DML_ENOMEM.  @since 0.2
 */
DML_API dml_status dml_codec_create(dml_ctx *ctx, const char *spec, size_t count,
                                    size_t rows, uint64_t stream, dml_codec **codec);

/** Free; NULL is a no-op. @since 0.2 */
DML_API void dml_codec_destroy(dml_codec *codec);

/** Bytes of the code that the next dml_codec_encode() writes; dgc's warm-up changes
 * them. @since 0.2 */
DML_API size_t dml_codec_bytes(const dml_codec *codec);

/**
 * Encode a gradient and keep what is lost.
 * @param[in]  gradient  [count] borrowed until return.
 * @param[out] code      [dml_codec_bytes()] aligned to 4 bytes.
 * @return DML_OK | DML_ENUMERIC (see the file's head) | DML_EUNSUPPORTED (2^32
 * elements or more on a device; or terngrad, randomk or dgc's warm-up in a capture) |
 * DML_EINVAL (another device than the context's) | DML_ENOMEM | DML_ECOMM (the device
 * failed).
 * @since 0.2
 */
DML_API dml_status dml_codec_encode(dml_codec *codec, const float *gradient,
                                    void *code);

/**
 * dst = scale * decoded, or dst += scale * decoded with @p add.
 * A codec that encodes reads its own last code, and that which another one like it (of
 * the same text, count, rows and, for randomk, stream) has made in the same step. One
 * that has encoded nothing reads any code of another one like it; but with randomk,
 * whose codes do not say which elements they hold, all of them from the first on, in
 * order and each once (those that were unusable, too), and not in a capture, whose
 * replays would read the same elements again. Other bytes decode to anything; nothing
 * is written outside dst then, nor read beyond the dml_codec_bytes() of a new codec.
 * @param[in]  code  as above; aligned to 4 bytes.
 * @param[out] dst   [count].
 * @return DML_OK, always on the host | DML_EINVAL (dst is another device's) |
 * DML_EUNSUPPORTED, DML_ENOMEM, DML_ECOMM (as dml_codec_encode(), on a device).
 * @since 0.2
 */
DML_API dml_status dml_codec_decode(dml_codec *codec, const void *code, float scale,
                                    bool add, float *dst);

/** Queue work for a device in this stream, a dml_gpu_stream; at first the default one.
 * It must live until another is set, or the codec is destroyed. Waits for what is
 * queued. Without effect on the host. @return DML_OK | DML_ECOMM (the device failed).
 * @since 0.4 */
DML_API dml_status dml_codec_set_stream(dml_codec *codec, void *stream);

/** Wait for the work that is queued on a device. @return DML_OK | DML_ENUMERIC (as
 * dml_codec_encode(), once for each time) | DML_ECOMM (the device failed).
 * @since 0.4 */
DML_API dml_status dml_codec_wait(dml_codec *codec);

/** [count] what the codes so far left out, borrowed; NULL: the codec keeps none.
 * @since 0.2 */
DML_API const float *dml_codec_residual(const dml_codec *codec);

#ifdef __cplusplus
}
#endif
#endif
