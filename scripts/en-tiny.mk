# en-tiny from nothing, as it was made: every run, what it learned from, and what was averaged (docs/results.md).
#
#     make -f scripts/en-tiny.mk DATA=corpora DEV=dev.jsonl TEXT=sentences.txt.gz ARPA=3gram.arpa.xz DICTIONARY=cmudict.dict NOISE=noise.tar OUT=runs/en-tiny
#
# DATA holds train/CORPUS.tar and CORPUS.jsonl of the corpora that the model card names, and dev/ likewise
# (docs/guides/training.md); DEV is the manifest, with its recordings beside it, that thresholds are calibrated on; TEXT
# is what the synthetic voice reads, one sentence a line. Needs pip install -e '.[train,export,teacher,voices]'.
# Twelve hours of training by the clock, and what preparing, the teacher and calibration take; a slower machine makes
# fewer updates in that time. The same command
# goes on where it was cut off: what is finished is not done again, and a run that was cut off resumes. `make -n` shows
# the commands. To rehearse it, give a few recordings as DATA, CONFIGS=FOLDER with shorter runs under the same names, and
# hours-7=0.02 hours-8=0.02 hours-9=0.02 for what the voice reads. Left out are the second run's first eight minutes, which began it at another rate, that it took
# 115 minutes where its configuration says 86, and that the eighth had its phone heads beside the model.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.NOTPARALLEL:
.SECONDARY:

needed := DATA DEV TEXT ARPA DICTIONARY NOISE OUT
$(foreach name,$(needed),$(if $($(name)),,$(error $(name) is not given; needed are $(needed))))

PYTHON ?= python
CONFIGS ?= scripts/configs
TEACHER ?= tiny.en
hours-7 := 32
hours-8 := 16
hours-9 := 20
LOCAL := OMP_NUM_THREADS=1 torchrun --nproc-per-node 2
recordings := $(wildcard $(DATA)/train/*.jsonl)
done = mkdir -p $(@D) && touch $@

# $(call train,CONFIGURATION,PREPARED,STEP,WEIGHTS): one process; $(call meet,…): two that meet (optim.local_steps).
run = scripts/train.py --config $(CONFIGS)/$(1).yaml --data $(OUT)/$(2) --out $(OUT)/$(3) $(if $(4),--init $(OUT)/$(4))
train = $(PYTHON) $(call run,$(1),$(2),$(3),$(4))
meet = $(LOCAL) $(call run,$(1),$(2),$(3),$(4))
# $(call mean,BEFORE,STEP,SHARE OF BEFORE,SHARE OF STEP)
mean = $(PYTHON) scripts/average.py $(OUT)/$(1) $(OUT)/$(2)/last.pt --shares $(3) $(4) --out $(OUT)/$(2)/mean.pt
# $(call read,NUMBER,EARLIER NUMBERS): hibari reads sentences for words that neither recordings nor it itself said.
read = $(PYTHON) scripts/synthesise.py $(TEXT) --engine hibari --hours $(hours-$(1)) --seed $(1) --out $(OUT)/spoken-$(1) --known $(recordings) $(foreach n,$(2),$(OUT)/spoken-$(n)/train/synthetic-hibari.jsonl)
# $(call with,NUMBER): what was prepared of the recordings (linked, not copied), and what was read.
link = test -d $(2) || { rm -rf $(2).partial && cp -al $(1) $(2).partial && mv $(2).partial $(2); }
with = $(call link,$(OUT)/prepared,$(OUT)/prepared-$(1)) && $(PYTHON) scripts/prepare_data.py --from $(OUT)/spoken-$(1) --out $(OUT)/prepared-$(1) --speeds 1.0,0.9,1.1

.PHONY: all
all: $(OUT)/.calibrated

$(OUT)/.prepared:
	$(PYTHON) scripts/prepare_data.py --from $(DATA) --out $(OUT)/prepared --speeds 1.0,0.9,1.1 --noise $(NOISE)
	$(done)

$(OUT)/.taught: $(OUT)/.prepared
	$(PYTHON) scripts/teach.py --data $(OUT)/prepared --teacher $(TEACHER)
	$(done)

$(OUT)/1/.done: $(OUT)/.prepared
	$(call train,en-tiny,prepared,1)
	$(done)

$(OUT)/2/.done: $(OUT)/1/.done $(OUT)/.taught
	$(call train,en-tiny-teacher,prepared,2,1/last.pt)
	$(done)

$(OUT)/3/.done: $(OUT)/2/.done
	$(call train,en-tiny-third,prepared,3,2/last.pt)
	$(done)

$(OUT)/4/.done: $(OUT)/3/.done
	$(call train,en-tiny-fourth,prepared,4,3/last.pt)
	$(done)

$(OUT)/5/.done: $(OUT)/4/.done
	$(call train,en-tiny-fifth,prepared,5,4/last.pt)
	$(done)

# The sixth was not kept.
$(OUT)/spoken-7/.done:
	$(call read,7)
	$(done)

$(OUT)/spoken-8/.done: $(OUT)/spoken-7/.done
	$(call read,8,7)
	$(done)

$(OUT)/spoken-9/.done: $(OUT)/spoken-8/.done
	$(call read,9,7 8)
	$(done)

$(OUT)/.prepared-7: $(OUT)/spoken-7/.done $(OUT)/.prepared
	$(call with,7)
	$(done)

$(OUT)/7/.done: $(OUT)/5/.done $(OUT)/.prepared-7
	$(call meet,en-tiny-seventh,prepared-7,7,5/last.pt)
	$(call mean,5/last.pt,7,0.5,0.5)
	$(done)

# CMUdict, and rules for the words that it lacks, in the transcripts and in the language model.
$(OUT)/full.dict: $(OUT)/spoken-9/.done
	$(PYTHON) -m export lm --arpa $(ARPA) --out $(OUT)/mute.lm
	$(PYTHON) scripts/pronounce.py --dictionary $(DICTIONARY) --words $(recordings) $(OUT)/spoken-*/train/*.jsonl --lm $(OUT)/mute.lm --out $@

$(OUT)/.prepared-8: $(OUT)/spoken-8/.done $(OUT)/.prepared $(OUT)/full.dict
	$(call with,8) --pronunciations $(OUT)/full.dict
	$(done)

$(OUT)/8/.done: $(OUT)/7/.done $(OUT)/.prepared-8
	$(call meet,en-tiny-eighth,prepared-8,8,7/mean.pt)
	$(call mean,7/mean.pt,8,0.12,0.88)
	$(done)

$(OUT)/.prepared-9: $(OUT)/spoken-9/.done $(OUT)/.prepared $(OUT)/full.dict
	$(call with,9) --pronunciations $(OUT)/full.dict
	$(done)

$(OUT)/9/.done: $(OUT)/8/.done $(OUT)/.prepared-9
	$(call meet,en-tiny-ninth,prepared-9,9,8/mean.pt)
	$(call mean,8/mean.pt,9,0.3,0.7)
	$(done)

$(OUT)/.exported: $(OUT)/9/.done
	$(PYTHON) -m export --checkpoint $(OUT)/9/mean.pt --out $(OUT)/bundle/en-tiny --name en-tiny --weights $(OUT)/en-tiny.safetensors --keep int8
	$(PYTHON) -m export lm --arpa $(ARPA) --bundle $(OUT)/bundle/en-tiny --pronunciations $(OUT)/full.dict
	$(done)

$(OUT)/.calibrated: $(OUT)/.exported
	edge-asr calibrate $(OUT)/bundle/en-tiny $(DEV) --criterion learned_gate
	$(done)
