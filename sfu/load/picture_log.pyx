# SPDX-License-Identifier: Apache-2.0
"""Freezes of a received picture; see picture_log.pxd."""

from libc.string cimport memset

cdef enum:
    FREEZE_FACTOR = 3
    FREEZE_ADDED_US = 150_000


cdef void remember(PictureLog *log, int64_t interval_us) noexcept nogil:
    if log.kept == KEPT_INTERVALS:
        log.sum_us -= log.intervals[log.at]
    else:
        log.kept += 1
    log.intervals[log.at] = interval_us
    log.sum_us += interval_us
    log.at = (log.at + 1) % KEPT_INTERVALS


cdef void picture_log_frame(PictureLog *log, int64_t now_us) noexcept nogil:
    cdef int64_t interval_us
    if log.first_us == 0:
        log.first_us = now_us
    if log.watching:
        picture_log_look(log, now_us)
        interval_us = max(0, now_us - log.last_us)
        log.watched_us += interval_us
        if log.frozen:
            log.frozen_us += interval_us
        else:  # a freeze does not make the next one shorter than it looks
            remember(log, interval_us)
    log.watching = True
    log.frozen = False
    log.last_us = now_us


cdef void picture_log_look(PictureLog *log, int64_t now_us) noexcept nogil:
    cdef int64_t gap_us
    if not log.watching or log.frozen or log.kept == 0:
        return
    # Against the mean times `kept`, so that nothing is rounded.
    gap_us = (now_us - log.last_us) * log.kept
    if gap_us > FREEZE_FACTOR * log.sum_us and gap_us > log.sum_us + FREEZE_ADDED_US * <int64_t>log.kept:
        log.frozen = True
        log.freezes += 1


cdef void picture_log_pause(PictureLog *log) noexcept nogil:
    log.kept = 0
    log.at = 0
    log.sum_us = 0
    log.watching = False
    log.frozen = False


cdef class PictureCounter:
    """A PictureLog for tests."""

    cdef PictureLog log

    def __cinit__(self):
        memset(&self.log, 0, sizeof(PictureLog))

    def frame(self, int64_t now_us):
        picture_log_frame(&self.log, now_us)

    def look(self, int64_t now_us):
        picture_log_look(&self.log, now_us)

    def pause(self):
        picture_log_pause(&self.log)

    @property
    def counts(self):
        """(freezes, frozen µs, watched µs)."""
        return self.log.freezes, self.log.frozen_us, self.log.watched_us
