-- A ledger written by version 0.1.0 (commit 652f50e): sweeps/sentiment-smoke.yaml, packed, float32.
BEGIN TRANSACTION;
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('v3.2.0.a');
CREATE TABLE loratory_cursors (
	sweep_id INTEGER NOT NULL, 
	scope VARCHAR(20) NOT NULL, 
	data TEXT NOT NULL, 
	PRIMARY KEY (sweep_id, scope), 
	FOREIGN KEY(sweep_id) REFERENCES loratory_sweeps (id) ON DELETE CASCADE
);
INSERT INTO "loratory_cursors" VALUES(1,'sweep','{"run_id": "28605788af494bf6ba661482a30bc095", "ended": 4, "files": {"sweep.yaml": "7dc1154c5505f23f", "history.png": "fab197ae38f9dcfb63627abcd00b12c92cb25ed07984e7a3773b2ebab6e36941", "index.html": "2111e6b1e5972845201158c0c3d0a87418c7e68bff4de022dc5889ce4c3b8099", "leaderboard.csv": "34151aa7ad461f40b04d0ab6b22cdf3d2710f983b4909989711ed2851433c5db", "leaderboard.json": "1f7e3abb822d7dbc3ad4f362225f089aabe17327f11fbec0b85bf165ef0213cb", "learning_curves.png": "e480e483a869ea626a7282ccee1b326016b545ef7340a4d7873336ed280aa387", "parallel_coordinates.png": "f6bc53a6b3a4ea2ddfa0a66939381334565fa4d46b4d7ce04c3a215faacedf2f", "report.json": "f8b8b17e0b5971598d00fcea8f621a4e7de67f1da0c547761559d9deb56f3304", "shift.png": "f201a23738f7c690188d9d91ddc35f143882143215195a98100972be6dd45db7"}, "seen": "d42841737fb09605"}');
INSERT INTO "loratory_cursors" VALUES(1,'0','{"run_id": "c4323aec9f8e4c86a0e146ad2669d40e", "samples": 128, "status": "FINISHED", "seen": "462eaf8f81625eb6"}');
INSERT INTO "loratory_cursors" VALUES(1,'1','{"run_id": "ef939f33cfef45f48105f0afbe31617a", "samples": 256, "status": "FINISHED", "seen": "41f139b02e3fa1b0", "model_id": "m-20fb6744f570449e886abb4119bc777f", "model_samples": 256}');
INSERT INTO "loratory_cursors" VALUES(1,'2','{"run_id": "a74956d24d5646daa000c380ac8433bc", "samples": 128, "status": "FINISHED", "seen": "8e2444941e08d051", "model_id": "m-f556a838284847a7b220cb873a2d062b", "model_samples": 128}');
INSERT INTO "loratory_cursors" VALUES(1,'3','{"run_id": "7f31353ae77f49ac904384651263b7e3", "samples": 128, "status": "FINISHED", "seen": "3967ea4e444917e1"}');
CREATE TABLE loratory_drivers (
	sweep_id INTEGER NOT NULL, 
	token VARCHAR(40) NOT NULL, 
	host VARCHAR(255) NOT NULL, 
	pid INTEGER NOT NULL, 
	process_started_at FLOAT NOT NULL, 
	since FLOAT NOT NULL, 
	heartbeat_at FLOAT NOT NULL, 
	PRIMARY KEY (sweep_id), 
	FOREIGN KEY(sweep_id) REFERENCES loratory_sweeps (id) ON DELETE CASCADE
);
CREATE TABLE loratory_reports (
	sweep_id INTEGER NOT NULL, 
	trial INTEGER NOT NULL, 
	nominal_samples INTEGER NOT NULL, 
	metrics TEXT NOT NULL, 
	checkpoint TEXT, 
	started_at FLOAT NOT NULL, 
	ended_at FLOAT NOT NULL, 
	PRIMARY KEY (sweep_id, trial, nominal_samples), 
	FOREIGN KEY(sweep_id, trial) REFERENCES loratory_trials (sweep_id, number) ON DELETE CASCADE
);
INSERT INTO "loratory_reports" VALUES(1,1,128,'{"val/loss": 0.6770661270711571, "val/accuracy": 0.5625, "val/macro_f1": 0.44946236559139785, "train/loss": 0.6463922061957419, "train/accuracy": 0.5625, "train/macro_f1": 0.4166666666666667, "gap/loss": 0.030673920875415206, "gap/accuracy": 0.0, "optim/learning_rate": 0.001458928679972712, "progress/samples": 128.0, "progress/tokens": 2616.0, "speed/tokens_per_s": 1459.948333106016, "time/train_s": 1.7918442322095764, "memory/peak_mb": 1061.41015625, "time/eval_s": 2.1483126800000036}','trials/0001/checkpoint-128',1.79580365994026494025e+09,1.79580366555722188955e+09);
INSERT INTO "loratory_reports" VALUES(1,0,128,'{"val/loss": 0.6938440813682973, "val/accuracy": 0.5078125, "val/macro_f1": 0.33678756476683935, "train/loss": 0.6864557545632124, "train/accuracy": 0.53125, "train/macro_f1": 0.3469387755102041, "gap/loss": 0.007388326805084944, "gap/accuracy": 0.0234375, "optim/learning_rate": 0.0005, "progress/samples": 128.0, "progress/tokens": 3530.0, "speed/tokens_per_s": 1428.0732767851057, "time/train_s": 2.47186195371345, "memory/peak_mb": 1151.82421875, "time/eval_s": 1.1019533690000003}','trials/0000/checkpoint-128',1.7958036595363638401e+09,1.7958036693319301605e+09);
INSERT INTO "loratory_reports" VALUES(1,2,128,'{"val/loss": 0.6881792196072638, "val/accuracy": 0.515625, "val/macro_f1": 0.40096618357487923, "train/loss": 0.6815204229205847, "train/accuracy": 0.59375, "train/macro_f1": 0.5497835497835498, "gap/loss": 0.006658796686679125, "gap/accuracy": 0.078125, "optim/learning_rate": 0.0009970219002462543, "progress/samples": 128.0, "progress/tokens": 3658.0, "speed/tokens_per_s": 1691.0077529624718, "time/train_s": 2.163207113386417, "memory/peak_mb": 1158.015625, "time/eval_s": 1.1402568649999694}','trials/0002/checkpoint-128',1.79580366615180587767e+09,1.79580367316146540641e+09);
INSERT INTO "loratory_reports" VALUES(1,1,256,'{"val/loss": 0.5916635049507022, "val/accuracy": 0.734375, "val/macro_f1": 0.7341153470185728, "train/loss": 0.5008424606639892, "train/accuracy": 0.828125, "train/macro_f1": 0.8260439831974302, "gap/loss": 0.090821044286713, "gap/accuracy": 0.09375, "optim/learning_rate": 0.0, "progress/samples": 256.0, "progress/tokens": 6889.0, "speed/tokens_per_s": 1540.482010825524, "time/train_s": 2.7738071395654633, "memory/peak_mb": 1158.015625, "time/eval_s": 1.7281067119999989}','trials/0001/checkpoint-256',1.79580367009659743306e+09,1.79580367962286734581e+09);
INSERT INTO "loratory_reports" VALUES(1,3,128,'{"val/loss": 0.6948626358062029, "val/accuracy": 0.4921875, "val/macro_f1": 0.3298429319371728, "train/loss": 0.6960423653945327, "train/accuracy": 0.46875, "train/macro_f1": 0.3191489361702128, "gap/loss": -0.001179729588329792, "gap/accuracy": -0.0234375, "optim/learning_rate": 0.00019889643277202067, "progress/samples": 128.0, "progress/tokens": 3547.0, "speed/tokens_per_s": 682.078779529591, "time/train_s": 5.200279068125031, "memory/peak_mb": 1158.015625, "time/eval_s": 2.3530167469999697}','trials/0003/checkpoint-128',1.79580367416971611979e+09,1.7958036861133887768e+09);
CREATE TABLE loratory_schema (
	version INTEGER NOT NULL, 
	PRIMARY KEY (version)
);
INSERT INTO "loratory_schema" VALUES(1);
CREATE TABLE loratory_sweeps (
	id INTEGER NOT NULL, 
	name VARCHAR(200) NOT NULL, 
	generation INTEGER NOT NULL, 
	status VARCHAR(20) NOT NULL, 
	fingerprint TEXT NOT NULL, 
	spec_text TEXT NOT NULL, 
	facts TEXT NOT NULL, 
	experiment_id VARCHAR(200), 
	run_id VARCHAR(200), 
	created_at FLOAT NOT NULL, 
	elapsed_s FLOAT NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (name, generation)
);
INSERT INTO "loratory_sweeps" VALUES(1,'sentiment-smoke',1,'finished','{"objective": "sentiment", "model": {"origin": "packaged", "name": "minilm", "config": null, "split": null, "revision": null}, "data": {"source": {"origin": "packaged", "name": "vader-movie", "config": null, "split": null, "revision": null}, "columns": {}, "train": 256, "validation": 128, "test": 128, "seed": 0, "train_eval": 64, "shift": {"product": {"origin": "packaged", "name": "vader-product", "config": null, "split": null, "revision": null}}, "shift_rows": 64}, "epochs": 1.0, "precision": "float32", "fixed": {"max_length": 48}, "space": {"learning_rate": {"low": 0.0003, "high": 0.003, "log": true, "step": null}, "rank": {"choices": [4, 8]}}, "metric": {"name": "val/accuracy", "direction": "maximize"}, "stopping": {"rule": "asha", "reports": 2, "reduction_factor": 2, "grace_samples": null, "cohort": 2, "patience": 2}, "seed": 7, "method": "lora", "split_rule": 2, "rows": {"train": "fa3e95f6bc95c453", "validation": "3bbde8522392ba64", "test": "2b041ae5c21a5b18", "shift/product": "bbba7d9c046f8787"}}','# yaml-language-server: $schema=sweep.schema.json
#
# The sentiment sweep in miniature: every part of the system runs, nothing is learned well.
#
#   command   make sweep SWEEP=sweeps/sentiment-smoke.yaml
#   time      under 90 seconds on 2 CPU cores
#   shows     that an installation works; continuous integration runs it

name: sentiment-smoke
description: The sentiment sweep in miniature, to see that everything runs.
objective: sentiment
model: minilm

data:
  source: vader-movie
  train: 256                      # enough for a few dozen updates
  validation: 128
  test: 128
  train_eval: 64                  # training rows measured for the overfitting gap
  shift: {product: vader-product} # one shift set of three
  shift_rows: 64
  max_length: 48                  # shorter rows, faster steps

adapter: {method: lora, alpha: 32, target_modules: all-linear}

training: {epochs: 1, batch_size: 16, precision: float32} # one pass: 256 samples a trial

search:
  metric: val/accuracy
  sampler: {name: tpe, startup_trials: 2}
  space:
    learning_rate: {low: 3.0e-4, high: 3.0e-3, log: true}   # high rates: there is little time to learn
    rank: {choices: [4, 8]}
  start:
  - {learning_rate: 1.0e-3, rank: 8}

early_stopping:
  rule: asha
  reports: 2                      # one rung in the middle, and the end
  reduction_factor: 2
  cohort: 2

budget: {trials: 4}

resources: {parallel_trials: 2, engine: packed, cpus_per_trial: 2}

tracking: {keep_adapters: 2, uri: sqlite:///ml.db}

seed: 7
','{"metric": {"name": "val/accuracy", "direction": "maximize"}, "data": {"train": 256, "validation": 128, "test": 128, "shift/product": 64}, "data_summary": {"labels": {"1": "positive", "0": "negative"}, "label_counts": {"train": {"negative": 129, "positive": 127}, "validation": {"negative": 65, "positive": 63}, "test": {"negative": 65, "positive": 63}, "shift/product": {"negative": 27, "positive": 37}}, "dropped": {"copy of another row": 2, "more rows than data.train asks for": 9558, "shift/product: copy of another row": 8, "shift/product: more rows than data.shift_rows asks for": 2913}, "truncated": {"train": 10, "validation": 4, "test": 10, "shift/product": 1}, "max_length": 48, "longest": {"train": 246, "validation": 250, "test": 243, "shift/product": 206}, "warnings": [], "split_rule": 2}, "report_points": [128, 256], "engine": {"objective": "sentiment", "model": {"origin": "packaged", "name": "minilm", "config": null, "split": null, "revision": null}, "data": {"source": {"origin": "packaged", "name": "vader-movie", "config": null, "split": null, "revision": null}, "columns": {}, "train": 256, "validation": 128, "test": 128, "seed": 0, "train_eval": 64, "shift": {"product": {"origin": "packaged", "name": "vader-product", "config": null, "split": null, "revision": null}}, "shift_rows": 64, "labels": {}, "split_rule": 2}, "report_points": [128, 256], "sweep_dir": "sweeps/sentiment-smoke-1", "metric": "val/accuracy", "precision": "float32", "threads": 2, "device": "auto", "engine": "packed", "smallest": {"method": "lora", "alpha": 32.0, "target_modules": "all-linear", "epochs": 1.0, "batch_size": 16, "max_length": 48, "rank": 4}, "largest": {"method": "lora", "alpha": 32.0, "target_modules": "all-linear", "epochs": 1.0, "batch_size": 16, "max_length": 48, "rank": 8}, "kinds": [], "quantisation": null, "deepspeed": null, "rows_per_epoch": null, "tried": [{"method": "lora", "target_modules": "all-linear", "init": "default", "dora": false, "rslora": false, "dropout": 0.0, "rank": 4}, {"method": "lora", "target_modules": "all-linear", "init": "default", "dora": false, "rslora": false, "dropout": 0.0, "rank": 8}], "searched": ["learning_rate", "rank"], "sweep_key": "da8cd220126a1924"}, "rungs": [128], "question": "04a4ce17c301fbfe658e1661bf54fd23267ac0889f15c82ba782c9863ddfd34b", "startup_s": 8.143014907836914, "baseline": {"val/loss": 0.7103689073564061, "val/accuracy": 0.546875, "val/macro_f1": 0.5450980392156863, "test/loss": 0.6647082640305099, "test/accuracy": 0.5859375, "test/macro_f1": 0.5846954392408938, "shift/product/loss": 0.7112380450061898, "shift/product/accuracy": 0.53125, "shift/product/macro_f1": 0.530791788856305}, "closing": [[1795803686.938112, 1795803695.3577003], [1795803695.5111773, 1795803701.6318295]], "ended": "all 4 trials were handed out", "notes": {}, "importances": {}}','1','28605788af494bf6ba661482a30bc095',1.7958036523491530418e+09,53.119802155);
CREATE TABLE loratory_trials (
	sweep_id INTEGER NOT NULL, 
	number INTEGER NOT NULL, 
	study_number INTEGER NOT NULL, 
	params TEXT NOT NULL, 
	settings TEXT NOT NULL, 
	seed INTEGER NOT NULL, 
	state VARCHAR(20) NOT NULL, 
	reason TEXT, 
	final TEXT NOT NULL, 
	run_id VARCHAR(200), 
	started_at FLOAT NOT NULL, 
	ended_at FLOAT, 
	PRIMARY KEY (sweep_id, number), 
	UNIQUE (sweep_id, study_number), 
	FOREIGN KEY(sweep_id) REFERENCES loratory_sweeps (id) ON DELETE CASCADE
);
INSERT INTO "loratory_trials" VALUES(1,0,0,'{"learning_rate": 0.001, "rank": 8}','{"method": "lora", "rank": 8, "alpha": 32.0, "rslora": false, "dora": false, "dropout": 0.0, "target_modules": "all-linear", "init": "default", "epochs": 1.0, "learning_rate": 0.001, "head_learning_rate": null, "lora_plus_ratio": null, "weight_decay": 0.0, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-08, "max_grad_norm": 1.0, "schedule": "linear", "warmup_ratio": 0.0, "batch_size": 16, "accumulation": 1, "label_smoothing": 0.0, "max_length": 48, "train_fraction": 1.0}',1872971094,'pruned','not among the best 1 of 2 at 128 samples','{"shift/product/loss": 0.7208193745464087, "shift/product/accuracy": 0.421875, "shift/product/macro_f1": 0.2967032967032967, "time/shift_s": 0.3371405660000164}','c4323aec9f8e4c86a0e146ad2669d40e',1.79580365907192087172e+09,1.7958036698961324692e+09);
INSERT INTO "loratory_trials" VALUES(1,1,1,'{"learning_rate": 0.002917857359945424, "rank": 8}','{"method": "lora", "rank": 8, "alpha": 32.0, "rslora": false, "dora": false, "dropout": 0.0, "target_modules": "all-linear", "init": "default", "epochs": 1.0, "learning_rate": 0.002917857359945424, "head_learning_rate": null, "lora_plus_ratio": null, "weight_decay": 0.0, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-08, "max_grad_norm": 1.0, "schedule": "linear", "warmup_ratio": 0.0, "batch_size": 16, "accumulation": 1, "label_smoothing": 0.0, "max_length": 48, "train_fraction": 1.0}',1007608978,'complete','reached its budget of 256 samples','{"shift/product/loss": 0.6710044704377651, "shift/product/accuracy": 0.578125, "shift/product/macro_f1": 0.5599694423223835, "time/shift_s": 0.5746252870000035, "test/loss": 0.6095671649090946, "test/accuracy": 0.71875, "test/macro_f1": 0.7170228445099485, "val/loss": 0.5916635124012828, "val/accuracy": 0.734375, "val/macro_f1": 0.7341153470185728, "train/loss": 0.5008424611296505, "train/accuracy": 0.828125, "train/macro_f1": 0.8260439831974302, "gap/loss": 0.09082105127163231, "gap/accuracy": 0.09375}','ef939f33cfef45f48105f0afbe31617a',1.79580365911789250374e+09,1.79580368049581480028e+09);
INSERT INTO "loratory_trials" VALUES(1,2,2,'{"learning_rate": 0.0019940438004925087, "rank": 8}','{"method": "lora", "rank": 8, "alpha": 32.0, "rslora": false, "dora": false, "dropout": 0.0, "target_modules": "all-linear", "init": "default", "epochs": 1.0, "learning_rate": 0.0019940438004925087, "head_learning_rate": null, "lora_plus_ratio": null, "weight_decay": 0.0, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-08, "max_grad_norm": 1.0, "schedule": "linear", "warmup_ratio": 0.0, "batch_size": 16, "accumulation": 1, "label_smoothing": 0.0, "max_length": 48, "train_fraction": 1.0}',998409539,'pruned','not among the best 1 of 3 at 128 samples','{"shift/product/loss": 0.6899923449382186, "shift/product/accuracy": 0.578125, "shift/product/macro_f1": 0.4488038277511962, "time/shift_s": 0.526275247000001, "test/loss": 0.6912103067152202, "test/accuracy": 0.5234375, "test/macro_f1": 0.4155251141552511, "val/loss": 0.6881792121566832, "val/accuracy": 0.515625, "val/macro_f1": 0.40096618357487923, "train/loss": 0.6815204238519073, "train/accuracy": 0.59375, "train/macro_f1": 0.5497835497835498, "gap/loss": 0.006658788304775953, "gap/accuracy": 0.078125}','a74956d24d5646daa000c380ac8433bc',1.79580366566513562206e+09,1.79580367389295506475e+09);
INSERT INTO "loratory_trials" VALUES(1,3,3,'{"learning_rate": 0.00039779286554404134, "rank": 4}','{"method": "lora", "rank": 4, "alpha": 32.0, "rslora": false, "dora": false, "dropout": 0.0, "target_modules": "all-linear", "init": "default", "epochs": 1.0, "learning_rate": 0.00039779286554404134, "head_learning_rate": null, "lora_plus_ratio": null, "weight_decay": 0.0, "beta1": 0.9, "beta2": 0.999, "epsilon": 1e-08, "max_grad_norm": 1.0, "schedule": "linear", "warmup_ratio": 0.0, "batch_size": 16, "accumulation": 1, "label_smoothing": 0.0, "max_length": 48, "train_fraction": 1.0}',712307964,'pruned','not among the best 2 of 4 at 128 samples','{"shift/product/loss": 0.6897101039066911, "shift/product/accuracy": 0.578125, "shift/product/macro_f1": 0.36633663366336633, "time/shift_s": 0.579938889999994}','7f31353ae77f49ac904384651263b7e3',1.79580367393145442006e+09,1.79580368691011118889e+09);
CREATE TABLE loratory_verdicts (
	sweep_id INTEGER NOT NULL, 
	trial INTEGER NOT NULL, 
	nominal_samples INTEGER NOT NULL, 
	action VARCHAR(20) NOT NULL, 
	state VARCHAR(20), 
	reason TEXT, 
	PRIMARY KEY (sweep_id, trial, nominal_samples), 
	FOREIGN KEY(sweep_id, trial) REFERENCES loratory_trials (sweep_id, number) ON DELETE CASCADE
);
INSERT INTO "loratory_verdicts" VALUES(1,0,128,'stop','pruned','not among the best 1 of 2 at 128 samples');
INSERT INTO "loratory_verdicts" VALUES(1,1,128,'continue',NULL,NULL);
INSERT INTO "loratory_verdicts" VALUES(1,2,128,'stop','pruned','not among the best 1 of 3 at 128 samples');
INSERT INTO "loratory_verdicts" VALUES(1,1,256,'stop','complete','reached its budget of 256 samples');
INSERT INTO "loratory_verdicts" VALUES(1,3,128,'stop','pruned','not among the best 2 of 4 at 128 samples');
CREATE TABLE studies (
	study_id INTEGER NOT NULL, 
	study_name VARCHAR(512) NOT NULL, 
	PRIMARY KEY (study_id)
);
INSERT INTO "studies" VALUES(1,'sentiment-smoke#1');
CREATE TABLE study_directions (
	study_direction_id INTEGER NOT NULL, 
	direction VARCHAR(8) NOT NULL, 
	study_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	PRIMARY KEY (study_direction_id), 
	UNIQUE (study_id, objective), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "study_directions" VALUES(1,'MAXIMIZE',1,0);
CREATE TABLE study_system_attributes (
	study_system_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_system_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
CREATE TABLE study_user_attributes (
	study_user_attribute_id INTEGER NOT NULL, 
	study_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (study_user_attribute_id), 
	UNIQUE (study_id, "key"), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
CREATE TABLE trial_heartbeats (
	trial_heartbeat_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	heartbeat DATETIME NOT NULL, 
	PRIMARY KEY (trial_heartbeat_id), 
	UNIQUE (trial_id), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
CREATE TABLE trial_intermediate_values (
	trial_intermediate_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	step INTEGER NOT NULL, 
	intermediate_value FLOAT, 
	intermediate_value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_intermediate_value_id), 
	UNIQUE (trial_id, step), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_intermediate_values" VALUES(1,2,128,0.5625,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(2,1,128,0.5078125,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(3,3,128,0.515625,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(4,2,256,0.734375,'FINITE');
INSERT INTO "trial_intermediate_values" VALUES(5,4,128,0.4921875,'FINITE');
CREATE TABLE trial_params (
	param_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	param_name VARCHAR(512), 
	param_value FLOAT, 
	distribution_json TEXT, 
	PRIMARY KEY (param_id), 
	UNIQUE (trial_id, param_name), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_params" VALUES(1,1,'learning_rate',0.001,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0003, "high": 0.003, "log": true}}');
INSERT INTO "trial_params" VALUES(2,1,'rank',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [4, 8]}}');
INSERT INTO "trial_params" VALUES(3,2,'learning_rate',2.91785735994542399021e-03,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0003, "high": 0.003, "log": true}}');
INSERT INTO "trial_params" VALUES(4,2,'rank',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [4, 8]}}');
INSERT INTO "trial_params" VALUES(5,3,'learning_rate',1.99404380049250868137e-03,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0003, "high": 0.003, "log": true}}');
INSERT INTO "trial_params" VALUES(6,3,'rank',1.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [4, 8]}}');
INSERT INTO "trial_params" VALUES(7,4,'learning_rate',3.97792865544041335679e-04,'{"name": "FloatDistribution", "attributes": {"step": null, "low": 0.0003, "high": 0.003, "log": true}}');
INSERT INTO "trial_params" VALUES(8,4,'rank',0.0,'{"name": "CategoricalDistribution", "attributes": {"choices": [4, 8]}}');
CREATE TABLE trial_system_attributes (
	trial_system_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_system_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_system_attributes" VALUES(1,1,'fixed_params','{"learning_rate": 0.001, "rank": 8}');
INSERT INTO "trial_system_attributes" VALUES(2,4,'tpe:relative_params:0','"{\"learning_rate\": 0.00039779286554404134, \"rank\": 4}"');
CREATE TABLE trial_user_attributes (
	trial_user_attribute_id INTEGER NOT NULL, 
	trial_id INTEGER, 
	"key" VARCHAR(512), 
	value_json TEXT, 
	PRIMARY KEY (trial_user_attribute_id), 
	UNIQUE (trial_id, "key"), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_user_attributes" VALUES(1,1,'start','"{\"learning_rate\": 0.001, \"rank\": 8}"');
INSERT INTO "trial_user_attributes" VALUES(2,1,'loratory','{"trial": 0, "reason": "not among the best 1 of 2 at 128 samples"}');
INSERT INTO "trial_user_attributes" VALUES(3,3,'loratory','{"trial": 2, "reason": "not among the best 1 of 3 at 128 samples"}');
INSERT INTO "trial_user_attributes" VALUES(4,2,'loratory','{"trial": 1, "reason": "reached its budget of 256 samples"}');
INSERT INTO "trial_user_attributes" VALUES(5,4,'loratory','{"trial": 3, "reason": "not among the best 2 of 4 at 128 samples"}');
CREATE TABLE trial_values (
	trial_value_id INTEGER NOT NULL, 
	trial_id INTEGER NOT NULL, 
	objective INTEGER NOT NULL, 
	value FLOAT, 
	value_type VARCHAR(7) NOT NULL, 
	PRIMARY KEY (trial_value_id), 
	UNIQUE (trial_id, objective), 
	FOREIGN KEY(trial_id) REFERENCES trials (trial_id)
);
INSERT INTO "trial_values" VALUES(1,1,0,0.5078125,'FINITE');
INSERT INTO "trial_values" VALUES(2,3,0,0.515625,'FINITE');
INSERT INTO "trial_values" VALUES(3,2,0,0.734375,'FINITE');
INSERT INTO "trial_values" VALUES(4,4,0,0.4921875,'FINITE');
CREATE TABLE trials (
	trial_id INTEGER NOT NULL, 
	number INTEGER, 
	study_id INTEGER, 
	state VARCHAR(8) NOT NULL, 
	datetime_start DATETIME, 
	datetime_complete DATETIME, 
	PRIMARY KEY (trial_id), 
	FOREIGN KEY(study_id) REFERENCES studies (study_id)
);
INSERT INTO "trials" VALUES(1,0,1,'PRUNED','2026-11-27 18:20:58.936749','2026-11-27 18:21:09.905532');
INSERT INTO "trials" VALUES(2,1,1,'COMPLETE','2026-11-27 18:20:59.102119','2026-11-27 18:21:20.507439');
INSERT INTO "trials" VALUES(3,2,1,'PRUNED','2026-11-27 18:21:05.639172','2026-11-27 18:21:13.901081');
INSERT INTO "trials" VALUES(4,3,1,'PRUNED','2026-11-27 18:21:13.913739','2026-11-27 18:21:26.920776');
CREATE TABLE version_info (
	version_info_id INTEGER NOT NULL, 
	schema_version INTEGER, 
	library_version VARCHAR(256), 
	PRIMARY KEY (version_info_id), 
	CHECK (version_info_id=1)
);
INSERT INTO "version_info" VALUES(1,12,'5.0.0');
CREATE UNIQUE INDEX ix_studies_study_name ON studies (study_name);
CREATE INDEX ix_trials_study_id ON trials (study_id);
COMMIT;
